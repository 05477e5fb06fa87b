/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TLS as a socket: our side against gnutls itself, which a thread drives at the other end of a
 * connection and which can send its records in any pieces.  Each test runs over a socket pair,
 * where gnutls makes our records, and over TCP, where the kernel does if it can.
 */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/co-lock.h"
#include "io/tls-kernel-keys.h"
#include "io/tls-socket.h"
#include "io/worker.h"
#include "tests/unit/loop-util.h"
#include "tests/unit/tcp-util.h"

#define KEY "00112233445566778899aabbccddeeff"
#define BIG (5 * 1024 * 1024 + 4321)

static uint32_t seed;

/* ---- the other side ---- */

typedef struct Peer Peer;
typedef void PeerFn(Peer *peer);

struct Peer {
    int fd;
    gnutls_session_t session;
    gnutls_psk_client_credentials_t creds;
    const char *priority, *key;
    PeerFn *fn;
    GRand *rnd;
    bool in_pieces; /* records are written a few bytes at a time */
    bool failed;    /* the handshake did */
    GThread *thread;
};

static ssize_t push(gnutls_transport_ptr_t opaque, const void *buf, size_t len)
{
    Peer *peer = opaque;
    size_t done = 0;

    while (done < len) {
        size_t most = peer->in_pieces ? (size_t)g_rand_int_range(peer->rnd, 1, 3000) : len;
        ssize_t n = send(peer->fd, (char *)buf + done, MIN(most, len - done), MSG_NOSIGNAL);

        if (n < 0) {
            return n;
        }
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static ssize_t pull(gnutls_transport_ptr_t opaque, void *buf, size_t len)
{
    return recv(((Peer *)opaque)->fd, buf, len, 0);
}

static void *peer_main(void *opaque)
{
    Peer *peer = opaque;
    gnutls_datum_t key = {(unsigned char *)peer->key, strlen(peer->key)};

    g_assert_cmpint(gnutls_init(&peer->session, GNUTLS_CLIENT), ==, 0);
    g_assert_cmpint(gnutls_psk_allocate_client_credentials(&peer->creds), ==, 0);
    gnutls_psk_set_client_credentials(peer->creds, "me", &key, GNUTLS_PSK_KEY_HEX);
    g_assert_cmpint(gnutls_priority_set_direct(peer->session, peer->priority, NULL), ==, 0);
    gnutls_credentials_set(peer->session, GNUTLS_CRD_PSK, peer->creds);
    gnutls_transport_set_ptr(peer->session, peer);
    gnutls_transport_set_push_function(peer->session, push);
    gnutls_transport_set_pull_function(peer->session, pull);
    peer->failed = gnutls_handshake(peer->session) < 0;
    if (!peer->failed) {
        peer->fn(peer);
    }
    close(peer->fd);
    gnutls_deinit(peer->session);
    gnutls_psk_free_client_credentials(peer->creds);
    return NULL;
}

static void peer_send(Peer *peer, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = gnutls_record_send(peer->session, data, len);

        g_assert_cmpint(n, >, 0);
        data += n;
        len -= (size_t)n;
    }
}

/* gnutls returns, too, when keys were changed. */
static ssize_t peer_recv(Peer *peer, void *buf, size_t len)
{
    ssize_t n;

    do {
        n = gnutls_record_recv(peer->session, buf, len);
    } while (n == GNUTLS_E_AGAIN);
    return n;
}

static void peer_expect(Peer *peer, const uint8_t *data, size_t len)
{
    g_autofree uint8_t *buf = g_malloc(65536);

    while (len > 0) {
        ssize_t n = peer_recv(peer, buf, MIN(len, 65536));

        g_assert_cmpint(n, >, 0);
        g_assert_cmpmem(buf, n, data, n);
        data += n;
        len -= (size_t)n;
    }
}

/* ---- our side ---- */

static char *key_dir;
static uint8_t *bytes; /* BIG ones, at random */

static TlsCreds *server_creds(void)
{
    TlsCredsOptions options = {.dir = key_dir, .server = true};
    GError *error = NULL;
    TlsCreds *creds = tls_creds_new_psk(&options, &error);

    g_assert_no_error(error);
    return creds;
}

/* A test's body; it gets our end, where TLS has begun. */
typedef void BodyFn(Socket *socket);

typedef struct Run {
    Peer peer;
    bool tcp, kernel_can; /* it must, then */
    BodyFn *co_body;
} Run;

static KernelTls kernel_can;

static void connect_pair(bool tcp, int *fds)
{
    if (tcp) {
        tcp_pair(fds);
    } else {
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    }
}

static void co_run(void *opaque)
{
    Run *run = opaque;
    TlsCreds *creds = server_creds();
    GError *error = NULL;
    unsigned long kernel_did = kernel_tls_count();
    Socket *socket;
    int fds[2];

    connect_pair(run->tcp, fds);
    run->peer.fd = fds[1];
    run->peer.rnd = g_rand_new_with_seed(seed);
    socket = socket_new_fd(fds[0], "peer");
    run->peer.thread = g_thread_new("peer", peer_main, &run->peer);
    co_tls_start(&socket, creds, NULL, INT64_MAX, &error);
    g_assert_no_error(error);
    if (run->kernel_can && is_established(socket_fd(socket))) {
        g_assert_cmpuint(kernel_tls_count(), >, kernel_did);
    }
    run->co_body(socket);
    socket_free(socket);
    g_thread_join(run->peer.thread);
    g_assert_false(run->peer.failed);
    g_rand_free(run->peer.rnd);
    tls_creds_free(creds);
}

#define PSK "NORMAL:+ECDHE-PSK:+DHE-PSK:+PSK"
#define TLS_1_2 ":-VERS-ALL:+VERS-TLS1.2"
#define TLS_1_3 ":-VERS-ALL:+VERS-TLS1.3"
#define CIPHER(name) ":-CIPHER-ALL:+" name
/* Without a word gnutls would take CBC for keys and TLS 1.2. */
static const char *const priorities[] = {PSK TLS_1_3, PSK TLS_1_2 CIPHER("AES-128-GCM")};

static void run_one(const char *priority, bool tcp, PeerFn *peer, BodyFn *co_body, bool in_pieces)
{
    bool is_chacha20 = strstr(priority, ":+CHACHA20") != NULL;
    bool is_aes_256 = strstr(priority, ":+AES-256-GCM") != NULL;
    gnutls_cipher_algorithm_t cipher = is_chacha20  ? GNUTLS_CIPHER_CHACHA20_POLY1305
                                       : is_aes_256 ? GNUTLS_CIPHER_AES_256_GCM
                                                    : GNUTLS_CIPHER_AES_128_GCM;
    Run run = {
        .peer = {.fn = peer, .priority = priority, .key = KEY, .in_pieces = in_pieces},
        .tcp = tcp,
        .kernel_can = tcp && kernel_tls(cipher) != KERNEL_TLS_NONE,
        .co_body = co_body,
    };

    run_in_co(co_run, &run);
}

static void run_with(PeerFn *peer, BodyFn *co_body, bool in_pieces)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(priorities); i++) {
        run_one(priorities[i], false, peer, co_body, in_pieces);
        run_one(priorities[i], true, peer, co_body, in_pieces);
    }
}

/* ---- receiving ---- */

static void send_all(Peer *peer)
{
    peer_send(peer, bytes, BIG);
    gnutls_bye(peer->session, GNUTLS_SHUT_WR);
}

static void co_receive_all(Socket *socket)
{
    g_autofree uint8_t *buf = g_malloc(BIG);
    g_autoptr(GRand) rnd = g_rand_new_with_seed(seed);
    size_t done = 0;

    while (done < BIG) {
        size_t most = (size_t)g_rand_int_range(rnd, 1, 40000);
        size_t len = MIN(most, BIG - done);
        ssize_t n = co_socket_recv(socket, buf + done, len);

        g_assert_cmpint(n, >, 0);
        g_assert_cmpint(n, <=, len);
        done += (size_t)n;
    }
    g_assert_cmpmem(buf, BIG, bytes, BIG);
    g_assert_cmpint(co_socket_recv(socket, buf, 1), ==, 0); /* it has said good-bye */
    g_assert_cmpint(co_socket_recv(socket, buf, 1), ==, 0);
}

static void test_receive(void)
{
    run_with(send_all, co_receive_all, false);
}

static void test_receive_in_pieces(void)
{
    run_with(send_all, co_receive_all, true);
}

/* ---- sending ---- */

/* Pieces of all sizes, of which many are smaller than a record. */
static GArray *in_pieces(void)
{
    GArray *pieces = g_array_new(false, false, sizeof(struct iovec));
    g_autoptr(GRand) rnd = g_rand_new_with_seed(seed);

    for (size_t at = 0; at < BIG;) {
        size_t len = (size_t)g_rand_int_range(rnd, 1, g_rand_boolean(rnd) ? 100 : 100000);
        struct iovec piece = {bytes + at, MIN(len, BIG - at)};

        g_array_append_val(pieces, piece);
        at += piece.iov_len;
    }
    return pieces;
}

static void expect_all(Peer *peer)
{
    uint8_t end;

    peer_expect(peer, bytes, BIG);
    g_assert_cmpint(gnutls_record_recv(peer->session, &end, 1), ==, 0); /* our good-bye */
}

static void co_send_all(Socket *socket)
{
    g_autoptr(GArray) pieces = in_pieces();
    IoSlice data = io_slice((struct iovec *)pieces->data, pieces->len);

    g_assert_cmpint(co_socket_send(socket, &data), ==, 0);
}

static void test_send(void)
{
    run_with(expect_all, co_send_all, false);
}

/* What the kernel has; a key of ours is for SHA-256, so there is no AES-256 in TLS 1.3. */
static void test_ciphers(void)
{
    static const char *const ciphers[] = {
        PSK TLS_1_2 CIPHER("AES-128-GCM"),       PSK TLS_1_3 CIPHER("AES-128-GCM"),
        PSK TLS_1_2 CIPHER("CHACHA20-POLY1305"), PSK TLS_1_3 CIPHER("CHACHA20-POLY1305"),
        PSK TLS_1_2 CIPHER("AES-256-GCM"),
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(ciphers); i++) {
        run_one(ciphers[i], true, expect_all, co_send_all, false);
    }
}

/* ---- both at once ---- */

static void echo(Peer *peer)
{
    g_autofree uint8_t *buf = g_malloc(50000);
    ssize_t n;

    while ((n = peer_recv(peer, buf, 50000)) > 0) {
        peer_send(peer, buf, (size_t)n);
    }
    g_assert_cmpint(n, ==, 0);
}

static void co_sender(void *opaque)
{
    co_send_all(opaque);
}

static void co_receive_echo(Socket *socket)
{
    g_autofree uint8_t *buf = g_malloc(BIG);

    co_start(co_sender, socket);
    g_assert_cmpint(co_socket_recv_all(socket, buf, BIG), ==, 0);
    g_assert_cmpmem(buf, BIG, bytes, BIG);
}

static void test_both_ways(void)
{
    run_with(echo, co_receive_echo, true);
}

/* ---- interrupts ---- */

static int gate[2]; /* the peer reads on when a byte has come */

static void expect_later(Peer *peer)
{
    char byte;

    g_assert_cmpint(read(gate[0], &byte, 1), ==, 1);
    expect_all(peer);
}

static void interrupt(void *opaque)
{
    socket_interrupt_send(opaque);
}

/* As the NBD session does it: what was interrupted is said again. */
static void co_send_interrupted(Socket *socket)
{
    g_autoptr(GArray) pieces = in_pieces();
    IoSlice data = io_slice((struct iovec *)pieces->data, pieces->len);
    unsigned interrupts = 0;
    size_t done = 0;

    while (done < BIG) {
        IoSlice rest = io_slice_sub(&data, done, BIG - done);
        ssize_t n;

        if (interrupts < 20) {
            loop_call(loop_current(), interrupt, socket);
        }
        n = co_socket_send_some(socket, &rest);
        if (n == -EINTR) {
            if (++interrupts == 20) {
                g_assert_cmpint(write(gate[1], "", 1), ==, 1);
            }
            continue;
        }
        g_assert_cmpint(n, >, 0);
        done += (size_t)n;
    }
    g_assert_cmpint(interrupts, >=, 20);
}

static void test_send_interrupted(void)
{
    g_assert_cmpint(pipe(gate), ==, 0);
    run_with(expect_later, co_send_interrupted, false);
    close(gate[0]);
    close(gate[1]);
}

static void answer(Peer *peer)
{
    peer_expect(peer, bytes, 1);
    peer_send(peer, bytes, 100);
}

static void co_receive_interrupted(Socket *socket)
{
    uint8_t buf[100];

    socket_interrupt(socket);
    g_assert_cmpint(co_socket_recv(socket, buf, sizeof(buf)), ==, -EINTR);
    g_assert_cmpint(co_socket_send_buf(socket, bytes, 1), ==, 0);
    g_assert_cmpint(co_socket_recv_all(socket, buf, sizeof(buf)), ==, 0);
    g_assert_cmpmem(buf, sizeof(buf), bytes, sizeof(buf));
}

static void test_receive_interrupted(void)
{
    run_with(answer, co_receive_interrupted, true);
}

/* ---- ends ---- */

static void just_leave(Peer *peer)
{
    peer_send(peer, bytes, 1000);
}

static void leave_in_a_record(Peer *peer)
{
    static const uint8_t begun[] = {23, 3, 3, 1, 0, 1, 2, 3};

    peer_send(peer, bytes, 1000);
    g_assert_cmpint(send(peer->fd, begun, sizeof(begun), MSG_NOSIGNAL), ==, sizeof(begun));
}

static void send_rubbish(Peer *peer)
{
    static const uint8_t record[5 + 64] = {23, 3, 3, 0, 64};
    uint8_t byte;

    peer_send(peer, bytes, 1000);
    g_assert_cmpint(send(peer->fd, record, sizeof(record), MSG_NOSIGNAL), ==, sizeof(record));
    g_assert_cmpint(gnutls_record_recv(peer->session, &byte, 1), <=, 0);
}

/* What came before is there; then the end is no good one. */
static void co_expect(Socket *socket, int error)
{
    uint8_t buf[1001];

    g_assert_cmpint(co_socket_recv_all(socket, buf, 1000), ==, 0);
    g_assert_cmpmem(buf, 1000, bytes, 1000);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmpint(co_socket_recv(socket, buf, 1), ==, error);
    }
}

static void co_expect_cut(Socket *socket)
{
    co_expect(socket, -ECONNRESET);
}

static void co_expect_rubbish(Socket *socket)
{
    co_expect(socket, -EPROTO);
}

static void test_ends(void)
{
    run_with(just_leave, co_expect_cut, false);
    run_with(leave_in_a_record, co_expect_cut, false);
    run_with(send_rubbish, co_expect_rubbish, false);
}

static void leave_unread(Peer *peer)
{
    peer_expect(peer, bytes, 10);
}

static void co_send_to_nobody(Socket *socket)
{
    struct iovec iov = {bytes, BIG};
    IoSlice data = io_slice(&iov, 1);
    int ret;

    do {
        ret = co_socket_send(socket, &data);
    } while (ret == 0);
    g_assert_true(ret == -EPIPE || ret == -ECONNRESET);
}

static size_t sent; /* of the same bytes, over and over */

static void wake(void *opaque)
{
    co_wake(opaque);
}

/* Returns when all that was given to loop_call() before has run. */
static void co_let_calls_run(void)
{
    loop_call(loop_current(), wake, co_self());
    co_yield();
}

static ssize_t co_send_next(Socket *socket)
{
    size_t at = sent % BIG;
    struct iovec iov = {bytes + at, BIG - at};
    IoSlice data = io_slice(&iov, 1);

    return co_socket_send_some(socket, &data);
}

/* As much as there is room for; false when a send would wait. */
static bool co_send_more(Socket *socket)
{
    ssize_t n;

    loop_call(loop_current(), interrupt, socket);
    n = co_send_next(socket);
    g_assert_true(n > 0 || n == -EINTR);
    co_let_calls_run();
    if (n > 0) {
        sent += (size_t)n;
        g_assert_cmpint(co_send_next(socket), ==, -EINTR); /* the interrupt came too late for n */
    }
    return n > 0;
}

/* Nothing that was sent is lost where we have no more to say before the other side has read it. */
static void co_send_and_finish(Socket *socket)
{
    for (sent = 0; co_send_more(socket);) {
    }
    g_assert_cmpint(write(gate[1], "", 1), ==, 1);
    co_socket_finish(socket, loop_now_ns() + INT64_C(60000000000));
}

static void expect_what_was_sent(Peer *peer)
{
    g_autofree uint8_t *buf = g_malloc(16384);
    size_t done = 0;
    ssize_t n;
    char byte;

    g_assert_cmpint(read(gate[0], &byte, 1), ==, 1);
    while ((n = gnutls_record_recv(peer->session, buf, MIN(BIG - done % BIG, 16384))) > 0) {
        g_assert_cmpmem(buf, n, bytes + done % BIG, n);
        done += (size_t)n;
    }
    g_assert_cmpint(n, ==, 0); /* our good-bye */
    g_assert_cmpuint(done, >=, sent); /* more where it was encrypted already */
}

static void test_finish(void)
{
    g_assert_cmpint(pipe(gate), ==, 0);
    run_with(expect_what_was_sent, co_send_and_finish, false);
    close(gate[0]);
    close(gate[1]);
}

static void expect_never(Peer *peer)
{
    char byte;

    g_assert_cmpint(read(gate[0], &byte, 1), ==, 1);
}

/* Who does not listen does not hold us up. */
static void co_finish_in_vain(Socket *socket)
{
    for (sent = 0; co_send_more(socket);) {
    }
    co_socket_finish(socket, loop_now_ns() + 20000000);
    g_assert_cmpint(write(gate[1], "", 1), ==, 1);
}

static void test_finish_in_vain(void)
{
    g_assert_cmpint(pipe(gate), ==, 0);
    run_with(expect_never, co_finish_in_vain, false);
    close(gate[0]);
    close(gate[1]);
}

static void test_peer_leaves(void)
{
    run_with(leave_unread, co_send_to_nobody, false);
}

/* ---- new keys ---- */

/* Theirs change; ours are asked to with @flags. */
static void update(Peer *peer, unsigned flags)
{
    peer_send(peer, bytes, 1000);
    g_assert_cmpint(gnutls_session_key_update(peer->session, flags), ==, 0);
    peer_send(peer, bytes, 1000);
}

static void echo_updated(Peer *peer, unsigned flags)
{
    for (unsigned i = 0; i < 4; i++) {
        update(peer, flags);
        peer_expect(peer, bytes, 100000);
    }
}

static void update_theirs(Peer *peer)
{
    echo_updated(peer, 0);
}

static void update_both(Peer *peer)
{
    echo_updated(peer, GNUTLS_KU_PEER);
}

static void co_follow_updates(Socket *socket)
{
    uint8_t buf[2000];

    for (unsigned i = 0; i < 4; i++) {
        g_assert_cmpint(co_socket_recv_all(socket, buf, sizeof(buf)), ==, 0);
        g_assert_cmpmem(buf, 1000, bytes, 1000);
        g_assert_cmpmem(buf + 1000, 1000, bytes, 1000);
        g_assert_cmpint(co_socket_send_buf(socket, bytes, 100000), ==, 0);
    }
}

/* A kernel that cannot change keys: the other side is told that something is wrong. */
static void update_refused(Peer *peer)
{
    uint8_t byte;

    update(peer, GNUTLS_KU_PEER);
    g_assert_cmpint(gnutls_record_recv(peer->session, &byte, 1), ==,
                    GNUTLS_E_FATAL_ALERT_RECEIVED);
    g_assert_cmpint(gnutls_alert_get(peer->session), ==, GNUTLS_A_INTERNAL_ERROR);
}

static void test_updates(void)
{
    bool refused = kernel_can == KERNEL_TLS_OLD;

    run_one(PSK TLS_1_3, false, update_theirs, co_follow_updates, false);
    run_one(PSK TLS_1_3, true, update_theirs, co_follow_updates, false);
    run_one(PSK TLS_1_3, false, update_both, co_follow_updates, false);
    run_one(PSK TLS_1_3, true, refused ? update_refused : update_both,
            refused ? co_expect_rubbish : co_follow_updates, false);
}

/* TLS 1.2 has a way to begin anew, which nobody needs. */
static void renegotiate(Peer *peer)
{
    peer_send(peer, bytes, 1000);
    g_assert_cmpint(gnutls_handshake(peer->session), <, 0);
}

static void test_renegotiation(void)
{
    run_one(priorities[1], false, renegotiate, co_expect_rubbish, false);
    run_one(priorities[1], true, renegotiate, co_expect_rubbish, false);
}

/* ---- handshakes that fail ---- */

static bool co_start_fails(Socket *socket, int64_t deadline_ns, const char *says)
{
    TlsCreds *creds = server_creds();
    Socket *before = socket;
    GError *error = NULL;
    bool ok = co_tls_start(&socket, creds, NULL, deadline_ns, &error);

    g_assert_false(ok);
    g_assert_true(socket == before);
    g_assert_true(strstr(error->message, says) != NULL);
    g_error_free(error);
    tls_creds_free(creds);
    return true;
}

static void co_silent(void *unused)
{
    int fds[2];
    Socket *socket;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    socket = socket_new_fd(fds[0], "peer");
    co_start_fails(socket, loop_now_ns() + 20000000, "TLS handshake failed");
    socket_free(socket);
    close(fds[1]);
}

static void test_silent(void)
{
    run_in_co(co_silent, NULL);
}

static void co_strangers(void *unused)
{
    static const char rubbish[] = "GET / HTTP/1.1\r\nHost: nobody\r\n\r\n";
    int fds[2];
    Socket *socket;
    Peer peer = {.priority = PSK, .key = "ffee"};

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    g_assert_cmpint(write(fds[1], rubbish, sizeof(rubbish)), ==, sizeof(rubbish));
    socket = socket_new_fd(fds[0], "peer");
    co_start_fails(socket, INT64_MAX, "TLS handshake failed");
    socket_free(socket);
    close(fds[1]);

    tcp_pair(fds);
    peer.fd = fds[1];
    socket = socket_new_fd(fds[0], "peer");
    peer.thread = g_thread_new("peer", peer_main, &peer);
    co_start_fails(socket, INT64_MAX, "TLS handshake failed");
    socket_free(socket);
    g_thread_join(peer.thread);
    g_assert_true(peer.failed); /* and was told by an alert */
}

static void test_strangers(void)
{
    run_in_co(co_strangers, NULL);
}

/* ---- */

static void set_up(void)
{
    g_autofree char *path = NULL;
    g_autoptr(GRand) rnd = NULL;
    const char *given = getenv("TIDEMARK_SEED");

    seed = given ? (uint32_t)strtoul(given, NULL, 10) : g_random_int();
    g_test_message("TIDEMARK_SEED=%u", seed);
    rnd = g_rand_new_with_seed(seed);
    bytes = g_malloc(BIG);
    for (size_t i = 0; i < BIG; i++) {
        bytes[i] = (uint8_t)g_rand_int(rnd);
    }
    kernel_can = kernel_tls(GNUTLS_CIPHER_AES_128_GCM);
    g_test_message("kernel TLS: %s", kernel_can == KERNEL_TLS_NONE  ? "none"
                                     : kernel_can == KERNEL_TLS_OLD ? "without new keys"
                                                                    : "with new keys");
    key_dir = g_dir_make_tmp("tidemark-XXXXXX", NULL);
    path = g_build_filename(key_dir, "keys.psk", NULL);
    g_assert_true(g_file_set_contents(path, "me:" KEY "\n", -1, NULL));
}

static void clean_up(void)
{
    g_autofree char *path = g_build_filename(key_dir, "keys.psk", NULL);

    unlink(path);
    rmdir(key_dir);
    g_free(key_dir);
    g_free(bytes);
    worker_pool_shutdown();
}

int main(int argc, char **argv)
{
    int status;

    g_test_init(&argc, &argv, NULL);
    set_up();
    g_test_add_func("/tls/receive", test_receive);
    g_test_add_func("/tls/receive-in-pieces", test_receive_in_pieces);
    g_test_add_func("/tls/send", test_send);
    g_test_add_func("/tls/ciphers", test_ciphers);
    g_test_add_func("/tls/both-ways", test_both_ways);
    g_test_add_func("/tls/send-interrupted", test_send_interrupted);
    g_test_add_func("/tls/receive-interrupted", test_receive_interrupted);
    g_test_add_func("/tls/ends", test_ends);
    g_test_add_func("/tls/finish", test_finish);
    g_test_add_func("/tls/finish-in-vain", test_finish_in_vain);
    g_test_add_func("/tls/peer-leaves", test_peer_leaves);
    g_test_add_func("/tls/updates", test_updates);
    g_test_add_func("/tls/renegotiation", test_renegotiation);
    g_test_add_func("/tls/silent", test_silent);
    g_test_add_func("/tls/strangers", test_strangers);
    status = g_test_run();
    clean_up();
    return status;
}
