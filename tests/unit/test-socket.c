/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sockets and listeners. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/co-lock.h"
#include "io/socket.h"
#include "io/worker.h"
#include "tests/unit/loop-util.h"

#define MS 1000000

/* ---- help ---- */

typedef struct Pair {
    Socket *a, *b;
} Pair;

static Pair new_pair(void)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    return (Pair){socket_new_fd(fds[0], "a"), socket_new_fd(fds[1], "b")};
}

static void free_pair(Pair *pair)
{
    socket_free(pair->a);
    socket_free(pair->b);
}

static char *temp_path(const char *name)
{
    g_autofree char *dir = g_dir_make_tmp("tidemark-XXXXXX", NULL);

    return g_build_filename(dir, name, NULL);
}

static void remove_temp(char *path)
{
    g_autofree char *dir = g_path_get_dirname(path);

    g_assert_cmpint(access(path, F_OK), ==, -1); /* the listener has removed it */
    g_assert_cmpint(rmdir(dir), ==, 0);
    g_free(path);
}

/* ---- send and receive ---- */

#define BIG (8 * 1024 * 1024)

typedef struct Echo {
    Socket *socket;
    bool ended;
} Echo;

static void co_echo(void *opaque)
{
    Echo *echo = opaque;
    g_autofree char *buf = g_malloc(100000);
    ssize_t n;

    while ((n = co_socket_recv(echo->socket, buf, 100000)) > 0) {
        if (co_socket_send_buf(echo->socket, buf, (size_t)n) < 0) {
            break;
        }
    }
    echo->ended = true;
}

typedef struct Sending {
    Socket *socket;
    const IoSlice *data;
    int result;
} Sending;

static void co_sending(void *opaque)
{
    Sending *sending = opaque;

    sending->result = 1;
    sending->result = co_socket_send(sending->socket, sending->data);
}

static void co_big_echo(void *opaque)
{
    g_autofree unsigned char *out = g_malloc(BIG), *in = g_malloc(BIG);
    g_autofree struct iovec *iov = g_new(struct iovec, 3000);
    Pair pair = new_pair();
    Echo echo = {.socket = pair.b};
    Sending sending = {.socket = pair.a};
    IoSlice all, data;

    for (size_t i = 0; i < BIG; i++) {
        out[i] = (unsigned char)(i * 7 + i / 1000);
    }
    for (unsigned i = 0; i < 3000; i++) {
        iov[i] = (struct iovec){out + (size_t)i * 2000, 2000};
    }
    all = io_slice(iov, 3000);
    data = io_slice_sub(&all, 1001, all.len - 2002);
    sending.data = &data;
    co_start(co_echo, &echo);
    co_start(co_sending, &sending);
    g_assert_cmpint(co_socket_recv_all(pair.a, in, data.len), ==, 0);
    g_assert_cmpint(sending.result, ==, 0);
    g_assert_cmpint(memcmp(in, out + 1001, data.len), ==, 0);
    socket_shutdown(pair.a);
    while (!echo.ended) {
        co_pass();
    }
    g_assert_cmpint(co_socket_recv(pair.a, in, 1), ==, 0);
    g_assert_cmpint(co_socket_recv_all(pair.a, in, 1), ==, -ECONNRESET);
    g_assert_cmpint(co_socket_send(pair.a, &data), ==, -EPIPE);
    free_pair(&pair);
}

static void test_echo(void)
{
    run_in_co(co_big_echo, NULL);
}

/* ---- interrupt and shutdown ---- */

typedef struct Receiving {
    Socket *socket;
    char buf[8];
    size_t want;
    ssize_t result;
} Receiving;

#define PENDING -12345

static void co_receiving(void *opaque)
{
    Receiving *recv = opaque;

    recv->result = PENDING;
    recv->result = recv->want ? co_socket_recv_all(recv->socket, recv->buf, recv->want)
                              : co_socket_recv(recv->socket, recv->buf, sizeof(recv->buf));
}

static void co_wait_for(Receiving *recv)
{
    while (recv->result == PENDING) {
        co_sleep_ns(MS / 10);
    }
}

static void co_interrupts(void *opaque)
{
    Pair pair = new_pair();
    Receiving recv = {.socket = pair.a};

    co_start(co_receiving, &recv);
    g_assert_cmpint(recv.result, ==, PENDING);
    socket_interrupt(pair.a);
    socket_interrupt(pair.a); /* twice is once */
    co_wait_for(&recv);
    g_assert_cmpint(recv.result, ==, -EINTR);

    /* Nobody waits: the next one is told, and nothing is lost. */
    socket_interrupt(pair.a);
    g_assert_cmpint(co_socket_send_buf(pair.b, "abc", 3), ==, 0);
    g_assert_cmpint(co_socket_recv(pair.a, recv.buf, 8), ==, -EINTR);
    g_assert_cmpint(co_socket_recv(pair.a, recv.buf, 8), ==, 3);

    /* In the middle of a message the rest is taken first. */
    recv.want = 6;
    co_start(co_receiving, &recv);
    g_assert_cmpint(co_socket_send_buf(pair.b, "abc", 3), ==, 0);
    co_sleep_ns(MS);
    socket_interrupt(pair.a);
    co_sleep_ns(MS);
    g_assert_cmpint(recv.result, ==, PENDING);
    g_assert_cmpint(co_socket_send_buf(pair.b, "def", 3), ==, 0);
    co_wait_for(&recv);
    g_assert_cmpint(recv.result, ==, 0);
    g_assert_cmpint(memcmp(recv.buf, "abcdef", 6), ==, 0);
    g_assert_cmpint(co_socket_recv(pair.a, recv.buf, 8), ==, -EINTR);

    /* A shutdown ends one that waits, and one that sends. */
    recv.want = 0;
    co_start(co_receiving, &recv);
    socket_shutdown(pair.a);
    co_wait_for(&recv);
    g_assert_cmpint(recv.result, ==, 0);
    g_assert_cmpint(co_socket_send_buf(pair.b, "x", 1), ==, -EPIPE);
    free_pair(&pair);
}

static void test_interrupt(void)
{
    run_in_co(co_interrupts, NULL);
}

static void co_blocked_send(void *opaque)
{
    g_autofree char *buf = g_malloc0(BIG);
    struct iovec iov = {buf, BIG};
    IoSlice data = io_slice(&iov, 1);
    Pair pair = new_pair();
    Sending sending = {.socket = pair.a, .data = &data};

    co_start(co_sending, &sending);
    co_sleep_ns(MS);
    g_assert_cmpint(sending.result, ==, 1);
    socket_shutdown(pair.a);
    while (sending.result == 1) {
        co_sleep_ns(MS / 10);
    }
    g_assert_cmpint(sending.result, ==, -EPIPE);
    free_pair(&pair);
}

static void test_blocked_send(void)
{
    run_in_co(co_blocked_send, NULL);
}

/* A receiver is interrupted, moves, and receives on the other loop. */
typedef struct Mover {
    Socket *socket;
    Loop *home, *other;
    _Atomic int moves;
    Co *waiter;
    _Atomic int ended;
} Mover;

static void co_move_receiver(void *opaque)
{
    Mover *mover = opaque;
    unsigned char expected = 0, byte;

    for (;;) {
        ssize_t n = co_socket_recv(mover->socket, &byte, 1);

        if (n == -EINTR) {
            mover->moves++;
            co_move(loop_current() == mover->home ? mover->other : mover->home);
        } else if (n == 0) {
            break;
        } else {
            g_assert_cmpint(n, ==, 1);
            g_assert_cmpint(byte, ==, expected++);
        }
    }
    co_move(mover->home);
    mover->ended = true;
}

static void interrupt_there(void *opaque)
{
    socket_interrupt(opaque);
}

static void co_move_session(void *opaque)
{
    Pair pair = new_pair();
    Mover mover = {.socket = pair.a, .home = loop_current()};
    const int rounds = 1000;

    mover.other = loop_new("other", NULL);
    g_assert_true(loop_start_thread(mover.other, NULL));
    co_start(co_move_receiver, &mover);
    for (int i = 0; i < rounds; i++) {
        unsigned char byte = (unsigned char)i;

        /* It is here in even rounds; in odd ones there. */
        loop_call(i % 2 ? mover.other : mover.home, interrupt_there, pair.a);
        g_assert_cmpint(co_socket_send_buf(pair.b, &byte, 1), ==, 0);
        while (mover.moves <= i) {
            co_pass();
        }
    }
    socket_shutdown(pair.b);
    while (!mover.ended) {
        co_pass();
    }
    g_assert_cmpint(mover.moves, ==, rounds);
    loop_free(mover.other);
    free_pair(&pair);
}

static void test_move_session(void)
{
    run_in_co(co_move_session, NULL);
}

/* ---- listeners ---- */

typedef struct Server {
    Listener *listener;
    int connections;
    Socket *last;
    bool free_in_callback;
    CoQueue arrived;
} Server;

static void on_connection(Socket *connection, void *opaque)
{
    Server *server = opaque;

    server->connections++;
    socket_free(server->last);
    server->last = connection;
    co_queue_wake_all(&server->arrived);
    if (server->free_in_callback) {
        co_listener_free(server->listener);
        server->listener = NULL;
    }
}

static void co_wait_connections(Server *server, int count)
{
    while (server->connections < count) {
        co_queue_wait(&server->arrived);
    }
}

static void co_stop(Server *server)
{
    co_listener_free(server->listener);
    server->listener = NULL;
    socket_free(server->last);
    server->last = NULL;
}

static void co_talk(Socket *client, Server *server)
{
    char buf[4];

    g_assert_cmpint(co_socket_send_buf(client, "ping", 4), ==, 0);
    g_assert_cmpint(co_socket_recv_all(server->last, buf, 4), ==, 0);
    g_assert_cmpint(memcmp(buf, "ping", 4), ==, 0);
}

static void co_unix(void *opaque)
{
    char *path = temp_path("sock");
    g_autofree char *name = g_strconcat("unix:", path, NULL);
    SocketAddr addr = {.kind = SOCKET_ADDR_UNIX, .path = path};
    Server server = {0};
    GError *error = NULL;
    Socket *client;

    /* The socket of one that died is replaced. */
    for (int i = 0; i < 2; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        server.listener = co_listener_new(&addr, 10, on_connection, &server, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(listener_address(server.listener), ==, name);
        client = co_socket_connect(&addr, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(client->peer, ==, name);
        co_wait_connections(&server, i + 1);
        g_assert_cmpstr(server.last->peer, ==, name);
        co_talk(client, &server);
        socket_free(client);
        if (i == 0) {
            Listener *first = server.listener;

            server.listener = co_listener_new(&addr, 10, on_connection, &server, &error);
            g_assert_no_error(error);
            co_listener_free(first); /* the file is no longer its own */
            g_assert_cmpint(access(path, F_OK), ==, 0);
        }
        co_stop(&server);
        close(fd);
    }
    remove_temp(path);
}

static void test_unix(void)
{
    run_in_co(co_unix, NULL);
}

static void co_abstract(void *opaque)
{
    g_autofree char *path = g_strdup_printf("tidemark-test-%d", getpid());

    for (int tight = 0; tight < 2; tight++) {
        SocketAddr addr = {.kind = SOCKET_ADDR_UNIX, .path = path, .abstract = true,
                           .tight = tight};
        Server server = {0};
        GError *error = NULL;
        Socket *client;

        server.listener = co_listener_new(&addr, 10, on_connection, &server, &error);
        g_assert_no_error(error);
        client = co_socket_connect(&addr, &error);
        g_assert_no_error(error);
        co_wait_connections(&server, 1);
        co_talk(client, &server);
        socket_free(client);
        co_stop(&server);
    }
}

static void test_abstract(void)
{
    run_in_co(co_abstract, NULL);
}

static const char *port_of(Server *server)
{
    return strrchr(listener_address(server->listener), ':') + 1;
}

static void co_tcp(void *opaque)
{
    SocketAddr addr = {.kind = SOCKET_ADDR_TCP, .host = "127.0.0.1", .port = "0",
                       .keep_alive = true};
    Server server = {0};
    GError *error = NULL;
    g_autofree char *port = NULL;
    Socket *client;

    server.listener = co_listener_new(&addr, 10, on_connection, &server, &error);
    g_assert_no_error(error);
    g_assert_true(g_str_has_prefix(listener_address(server.listener), "127.0.0.1:"));
    port = g_strdup(port_of(&server));
    g_assert_cmpint(atoi(port), >, 0);
    addr.host = "localhost";
    addr.port = port;
    client = co_socket_connect(&addr, &error);
    g_assert_no_error(error);
    co_wait_connections(&server, 1);
    co_talk(client, &server);
    g_assert_cmpstr(client->peer, ==, listener_address(server.listener));
    g_assert_true(g_str_has_prefix(server.last->peer, "127.0.0.1:"));
    socket_free(client);

    addr.host = "127.0.0.1"; /* localhost may be ::1, too */
    g_assert_null(co_listener_new(&addr, 10, on_connection, &server, &error));
    g_assert_cmpstr(error->message, ==,
                    "Failed to find an available port: Address already in use");
    g_clear_error(&error);
    co_stop(&server);

    /* All families at once, on one port. */
    addr.host = "";
    addr.port = "0";
    server.connections = 0;
    server.listener = co_listener_new(&addr, 10, on_connection, &server, &error);
    g_assert_no_error(error);
    g_free(port);
    port = g_strdup(port_of(&server));
    addr.port = port;
    for (int v6 = 0; v6 < 2; v6++) {
        addr.host = v6 ? "::1" : "127.0.0.1";
        client = co_socket_connect(&addr, &error);
        if (v6 && !client) {
            g_test_message("no IPv6 here: %s", error->message);
            g_clear_error(&error);
            break;
        }
        g_assert_no_error(error);
        co_wait_connections(&server, v6 + 1);
        co_talk(client, &server);
        socket_free(client);
    }
    co_stop(&server);
}

static void test_tcp(void)
{
    run_in_co(co_tcp, NULL);
    worker_pool_shutdown();
}

static void expect_error(GError **error, const char *message)
{
    g_assert_nonnull(*error);
    g_assert_cmpstr((*error)->message, ==, message);
    g_clear_error(error);
}

static void co_errors(void *opaque)
{
    g_autofree char *long_path = g_strnfill(109, 'x');
    g_autofree char *too_long = g_strdup_printf("UNIX socket path '%s' is too long", long_path);
    char *path = temp_path("file");
    g_autofree char *in_use = g_strdup_printf("Failed to bind socket to %s: Address already in use",
                                              path);
    SocketAddr unix_addr = {.kind = SOCKET_ADDR_UNIX, .path = "/nonexistent/x"};
    SocketAddr tcp = {.kind = SOCKET_ADDR_TCP, .host = "127.0.0.1", .port = "1"};
    SocketAddr fd_addr = {.kind = SOCKET_ADDR_FD, .fd = 999};
    GError *error = NULL;

    g_assert_null(co_socket_connect(&unix_addr, &error));
    expect_error(&error, "Failed to connect to '/nonexistent/x': No such file or directory");
    g_assert_null(co_listener_new(&unix_addr, 1, on_connection, NULL, &error));
    expect_error(&error, "Failed to bind socket to /nonexistent/x: No such file or directory");
    unix_addr.path = long_path;
    g_assert_null(co_listener_new(&unix_addr, 1, on_connection, NULL, &error));
    expect_error(&error, too_long);
    unix_addr.path = path;
    g_assert_true(g_file_set_contents(path, "precious", -1, NULL));
    g_assert_null(co_listener_new(&unix_addr, 1, on_connection, NULL, &error));
    expect_error(&error, in_use);
    g_assert_cmpint(unlink(path), ==, 0);
    remove_temp(path);

    g_assert_null(co_socket_connect(&tcp, &error));
    expect_error(&error, "Failed to connect to '127.0.0.1:1': Connection refused");
    tcp.port = "65537";
    g_assert_null(co_socket_connect(&tcp, &error));
    expect_error(&error, "address resolution failed for 127.0.0.1:65537: Servname not supported "
                         "for ai_socktype");
    tcp = (SocketAddr){.kind = SOCKET_ADDR_TCP, .host = "203.0.113.7", .port = "10809"};
    g_assert_null(co_listener_new(&tcp, 1, on_connection, NULL, &error));
    expect_error(&error, "Failed to bind socket: Cannot assign requested address");
    tcp.host = "::1";
    tcp.ipv4 = true;
    g_assert_null(co_listener_new(&tcp, 1, on_connection, NULL, &error));
    expect_error(&error, "address resolution failed for ::1:10809: Address family for hostname "
                         "not supported");

    g_assert_null(co_listener_new(&fd_addr, 1, on_connection, NULL, &error));
    expect_error(&error, "File descriptor '999' is not a socket");
    g_assert_null(co_socket_connect(&fd_addr, &error));
    expect_error(&error, "File descriptor '999' is not a socket");
}

static void test_errors(void)
{
    run_in_co(co_errors, NULL);
    worker_pool_shutdown();
}

static void co_pause(void *opaque)
{
    char *path = temp_path("sock");
    SocketAddr addr = {.kind = SOCKET_ADDR_UNIX, .path = path};
    Server server = {0};
    Socket *clients[5];

    server.listener = co_listener_new(&addr, 10, on_connection, &server, NULL);
    listener_set_paused(server.listener, true);
    for (int i = 0; i < 5; i++) {
        clients[i] = co_socket_connect(&addr, NULL); /* waits in the backlog */
        g_assert_nonnull(clients[i]);
    }
    co_sleep_ns(2 * MS);
    g_assert_cmpint(server.connections, ==, 0);
    listener_set_paused(server.listener, false);
    listener_set_paused(server.listener, true);
    listener_set_paused(server.listener, false);
    co_wait_connections(&server, 5);
    for (int i = 0; i < 5; i++) {
        socket_free(clients[i]);
    }
    co_stop(&server);
    remove_temp(path);
}

static void test_pause(void)
{
    run_in_co(co_pause, NULL);
}

/* Pauses and goes on at random moments while clients come: each is delivered once. */
static void co_pause_race(void *opaque)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    char *path = temp_path("sock");
    SocketAddr addr = {.kind = SOCKET_ADDR_UNIX, .path = path};
    Server server = {0};

    server.listener = co_listener_new(&addr, 1000, on_connection, &server, NULL);
    for (int i = 0; i < 500; i++) {
        Socket *client = co_socket_connect(&addr, NULL);

        g_assert_nonnull(client);
        listener_set_paused(server.listener, g_rand_boolean(rand));
        if (g_rand_boolean(rand)) {
            co_pass();
        }
        socket_free(client);
    }
    listener_set_paused(server.listener, false);
    co_wait_connections(&server, 500);
    listener_set_paused(server.listener, true);
    co_stop(&server);
    remove_temp(path);
}

static void test_pause_race(void)
{
    run_in_co(co_pause_race, NULL);
}

static void co_free_in_callback(void *opaque)
{
    char *path = temp_path("sock");
    SocketAddr addr = {.kind = SOCKET_ADDR_UNIX, .path = path};
    Server server = {.free_in_callback = true};
    Socket *client;

    server.listener = co_listener_new(&addr, 10, on_connection, &server, NULL);
    client = co_socket_connect(&addr, NULL);
    co_wait_connections(&server, 1);
    while (server.listener) {
        co_pass();
    }
    socket_free(client);
    co_stop(&server);
    remove_temp(path);
}

static void test_free_in_callback(void)
{
    run_in_co(co_free_in_callback, NULL);
}

static void co_passed_fd(void *opaque)
{
    struct sockaddr sa = {.sa_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    SocketAddr addr = {.kind = SOCKET_ADDR_FD, .fd = fd};
    SocketAddr to = {.kind = SOCKET_ADDR_UNIX, .abstract = true, .tight = true};
    g_autofree char *name = NULL;
    Server server = {0};
    GError *error = NULL;
    Socket *client;
    int fds[2];

    g_assert_cmpint(bind(fd, &sa, sizeof(sa_family_t)), ==, 0); /* a name of the kernel's choice */
    server.listener = co_listener_new(&addr, 10, on_connection, &server, &error);
    g_assert_no_error(error);
    name = g_strdup(listener_address(server.listener) + strlen("unix:@"));
    to.path = name;
    client = co_socket_connect(&to, &error);
    g_assert_no_error(error);
    co_wait_connections(&server, 1);
    co_talk(client, &server);
    socket_free(client);

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), ==, 0);
    addr.fd = fds[0];
    client = co_socket_connect(&addr, &error);
    g_assert_no_error(error);
    socket_free(server.last);
    server.last = socket_new_fd(fds[1], "peer");
    co_talk(client, &server);
    socket_free(client);
    co_stop(&server);
}

static void test_passed_fd(void)
{
    run_in_co(co_passed_fd, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/socket/echo", test_echo);
    g_test_add_func("/socket/interrupt", test_interrupt);
    g_test_add_func("/socket/blocked-send", test_blocked_send);
    g_test_add_func("/socket/move-session", test_move_session);
    g_test_add_func("/socket/unix", test_unix);
    g_test_add_func("/socket/abstract", test_abstract);
    g_test_add_func("/socket/tcp", test_tcp);
    g_test_add_func("/socket/errors", test_errors);
    g_test_add_func("/socket/pause", test_pause);
    g_test_add_func("/socket/pause-race", test_pause_race);
    g_test_add_func("/socket/free-in-callback", test_free_in_callback);
    g_test_add_func("/socket/passed-fd", test_passed_fd);
    return g_test_run();
}
