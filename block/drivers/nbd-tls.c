/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TLS of the nbd driver; see nbd.h.
 *
 * It is not left to libnbd, which looks at no certificate on a socket that it was given: a name to
 * compare with is known only to its own ways to connect.  So STARTTLS and the handshake are done
 * here, and libnbd speaks in clear, from the greeting on, to one end of a socket pair; a relay on
 * loop 0 stands between the other end and the server.
 */
#include "block/control.h"
#include "block/drivers/nbd.h"
#include "block/objects/tls-object.h"
#include "io/tls-socket.h"
#include "util/big-endian.h"
#include "util/error.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define HANDSHAKE_NS INT64_C(20000000000) /* less than an attempt may take */
#define PUMP_SIZE (128 << 10)
/* What libnbd has left behind, a good-bye most often, may take so long to reach the server. */
#define LAST_WORDS_NS INT64_C(2000000000)

#define HELLO_SIZE 18
#define FLAGS_SIZE 4
#define FLAG_FIXED_NEWSTYLE 1
#define FLAGS_KNOWN 3
#define INIT_MAGIC UINT64_C(0x4e42444d41474943)
#define OPTION_MAGIC UINT64_C(0x49484156454f5054)
#define REPLY_MAGIC UINT64_C(0x0003e889045565a9)
#define OPT_STARTTLS 5
#define REP_ACK 1
#define REP_ERR_UNSUP 0x80000001u
#define MAX_REPLY 4096

/* --- before TLS --- */

static bool co_get(Socket *socket, void *buf, size_t len, GError **errp)
{
    int ret = co_socket_recv_all(socket, buf, len);

    return ret == 0 || tm_error_set_errno(errp, -ret, "Failed to read from the NBD server");
}

static bool co_put(Socket *socket, const void *buf, size_t len, GError **errp)
{
    int ret = co_socket_send_buf(socket, buf, len);

    return ret == 0 || tm_error_set_errno(errp, -ret, "Failed to write to the NBD server");
}

static bool co_get_hello(Socket *socket, uint8_t *hello, GError **errp)
{
    if (!co_get(socket, hello, HELLO_SIZE, errp)) {
        return false;
    }
    if (get_be64(hello) != INIT_MAGIC) {
        return tm_error_set(errp, "Bad initial magic received: 0x%" PRIx64, get_be64(hello));
    }
    return (get_be64(hello + 8) == OPTION_MAGIC &&
            (get_be16(hello + 16) & FLAG_FIXED_NEWSTYLE)) ||
           tm_error_set(errp, "Server does not support STARTTLS");
}

/* The client's flags are what libnbd will answer, too, with all that the server offers. */
static bool co_ask(Socket *socket, const uint8_t *hello, GError **errp)
{
    uint8_t ask[FLAGS_SIZE + 16];

    put_be32(ask, get_be16(hello + 16) & FLAGS_KNOWN);
    put_be64(ask + 4, OPTION_MAGIC);
    put_be32(ask + 12, OPT_STARTTLS);
    put_be32(ask + 16, 0);
    return co_put(socket, ask, sizeof(ask), errp);
}

/* Whatever is read here was sent in clear: it may say no, and nothing else. */
static bool co_get_answer(Socket *socket, GError **errp)
{
    uint8_t reply[20];
    uint32_t type, len;

    if (!co_get(socket, reply, sizeof(reply), errp)) {
        return false;
    }
    type = get_be32(reply + 12);
    len = get_be32(reply + 16);
    if (get_be64(reply) != REPLY_MAGIC || get_be32(reply + 8) != OPT_STARTTLS) {
        return tm_error_set(errp, "Unexpected reply to option 5 (starttls)");
    }
    if (type == REP_ERR_UNSUP) {
        return tm_error_set(errp, "Server don't support STARTTLS option");
    }
    if (type != REP_ACK) {
        return tm_error_set(errp, "Denied by server for option 5 (starttls)");
    }
    return len == 0 || tm_error_set(errp, "Unexpected data in the reply to option 5 (starttls)");
}

static bool co_secure(NbdcTls *tls, Socket **socket, uint8_t *hello, GError **errp)
{
    return co_get_hello(*socket, hello, errp) && co_ask(*socket, hello, errp) &&
           co_get_answer(*socket, errp) &&
           co_tls_start(socket, tls->creds->state, tls->hostname, loop_now_ns() + HANDSHAKE_NS,
                        errp);
}

/* --- the relay --- */

typedef struct Relay {
    NbdcTls *tls;
    Socket *clear, *secure;
    uint8_t hello[HELLO_SIZE]; /* the server's greeting, for libnbd */
    unsigned pumps;            /* that run */
    LoopWatch *left;           /* tells when libnbd has closed its end */
    LoopTimer patience;        /* from then on */
} Relay;

static void co_pump(Socket *from, Socket *to)
{
    g_autofree uint8_t *buf = g_malloc(PUMP_SIZE);
    ssize_t n;

    do {
        n = co_socket_recv(from, buf, PUMP_SIZE);
    } while (n > 0 && co_socket_send_buf(to, buf, (size_t)n) == 0);
}

static void relay_unref(Relay *relay)
{
    if (--relay->pumps) {
        return;
    }
    loop_watch_free(relay->left);
    loop_timer_cancel(&relay->patience);
    socket_free(relay->clear);
    socket_free(relay->secure);
    relay->tls->relays--;
    co_queue_wake_all(&relay->tls->ended);
    g_free(relay);
}

/* libnbd's flags were sent already. */
static void co_to_server(void *opaque)
{
    Relay *relay = opaque;
    uint8_t flags[FLAGS_SIZE];

    if (co_socket_recv_all(relay->clear, flags, sizeof(flags)) == 0) {
        co_pump(relay->clear, relay->secure);
    }
    co_socket_finish(relay->secure, loop_now_ns() + LAST_WORDS_NS);
    socket_shutdown(relay->clear);
    socket_interrupt(relay->secure);
    relay_unref(relay);
}

static void co_from_server(void *opaque)
{
    Relay *relay = opaque;

    if (co_socket_send_buf(relay->clear, relay->hello, HELLO_SIZE) == 0) {
        co_pump(relay->secure, relay->clear);
    }
    socket_shutdown(relay->clear);
    if (relay->pumps > 1) { /* the other may wait for the server; else a good-bye is to be said */
        socket_shutdown(relay->secure);
    }
    relay_unref(relay);
}

static void cut(void *opaque)
{
    socket_shutdown(((Relay *)opaque)->secure);
}

/* A server that reads no more must not hold up who waits for the end of the relay. */
static void libnbd_left(void *opaque, int revents)
{
    Relay *relay = opaque;

    loop_watch_set(relay->left, 0);
    loop_timer_set(&relay->patience, loop_now_ns() + LAST_WORDS_NS);
}

static void relay_watch(Relay *relay)
{
    loop_timer_init(&relay->patience, cut, relay);
    relay->left = loop_watch_new(socket_fd(relay->clear), libnbd_left, relay);
    loop_watch_set(relay->left, POLLRDHUP);
}

/* Takes over @secure. */
static Socket *relay_start(NbdcTls *tls, Socket *secure, const uint8_t *hello, GError **errp)
{
    int fds[2];
    Relay *relay;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        tm_error_set_errno(errp, errno, "Could not make a socket pair");
        socket_free(secure);
        return NULL;
    }
    relay = g_new(Relay, 1);
    *relay = (Relay){
        .tls = tls,
        .clear = socket_new_fd(fds[0], secure->peer),
        .secure = secure,
        .pumps = 2,
    };
    memcpy(relay->hello, hello, HELLO_SIZE);
    tls->relays++;
    relay_watch(relay);
    co_start_on(control_loop(), co_to_server, relay);
    co_start_on(control_loop(), co_from_server, relay);
    return socket_new_fd(fds[1], secure->peer);
}

Socket *co_nbdc_tls_start(NbdcTls *tls, Socket *socket, GError **errp)
{
    uint8_t hello[HELLO_SIZE];

    if (!co_secure(tls, &socket, hello, errp)) {
        socket_free(socket);
        return NULL;
    }
    tls->doubt = tls_socket_doubt(socket);
    return relay_start(tls, socket, hello, errp);
}

/* --- options --- */

bool nbdc_tls_init(NbdcTls *tls, const BlockdevOptionsNbd *o, GError **errp)
{
    *tls = (NbdcTls){0};
    if (!o->tls_creds) {
        return !o->tls_hostname ||
               tm_error_set(errp, "tls-hostname is only valid with tls-creds");
    }
    tls->creds = tls_object_hold(o->tls_creds, Q_CRYPTO_TLS_CREDS_ENDPOINT_CLIENT, errp);
    if (!tls->creds) {
        return false;
    }
    tls->hostname = g_strdup(o->tls_hostname);
    if (!tls->hostname && o->server->type == SOCKET_ADDRESS_TYPE_INET) {
        tls->hostname = g_strdup(o->server->u.inet.host);
    }
    return true;
}

void co_nbdc_tls_clear(NbdcTls *tls)
{
    Loop *home = loop_current();

    if (!tls->creds) {
        return;
    }
    co_move(control_loop());
    while (tls->relays) {
        co_queue_wait(&tls->ended);
    }
    g_clear_pointer(&tls->creds, user_object_release);
    co_move(home);
    g_clear_pointer(&tls->hostname, g_free);
}
