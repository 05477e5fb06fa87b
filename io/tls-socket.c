/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* TLS as a socket that wraps another; see tls-socket.h. */
#include "io/tls-socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "io/tls-kernel.h"
#include "io/tls-private.h"
#include "io/worker.h"
#include "util/error.h"

#define RECORD 16384 /* the most that a record carries */
/* Records are gathered here so that many go in one send, and come in one receive. */
#define IN_SIZE (4 * RECORD)
#define OUT_SIZE (8 * (RECORD + RECORD_OVERHEAD))
#define RECORD_OVERHEAD 512

typedef struct TlsSocket {
    Socket base;
    Socket *inner;
    gnutls_session_t session;
    char *peer_name;
    const char *doubt;
    TlsPskClient psk_client;

    uint8_t *in; /* encrypted, received and not yet taken by gnutls */
    size_t in_pos, in_end;
    bool ended;    /* no more comes */
    ssize_t fault; /* gnutls's error that ended the receiving, or 0 */

    TlsKernel *kernel; /* it does the sending; else what follows is for that */
    bool stuck;        /* it was asked for new keys, and cannot */
    bool finished;     /* nothing more is to be said */
    uint8_t *out; /* encrypted, to be sent */
    size_t out_pos, out_end;
    size_t taken;   /* bytes of the caller's that lie in .out and were not reported yet */
    uint8_t *plain; /* a record's content is gathered here where it lies in pieces */
} TlsSocket;

/* --- gnutls's side of the buffers --- */

static ssize_t would_block(TlsSocket *tls)
{
    gnutls_transport_set_errno(tls->session, EAGAIN);
    return -1;
}

static ssize_t pull(gnutls_transport_ptr_t opaque, void *buf, size_t len)
{
    TlsSocket *tls = opaque;
    size_t n = MIN(len, tls->in_end - tls->in_pos);

    if (n == 0 && !tls->ended) {
        return would_block(tls);
    }
    memcpy(buf, tls->in + tls->in_pos, n);
    tls->in_pos += n;
    return (ssize_t)n;
}

/* All or nothing: gnutls does not go on well after a part. */
static ssize_t push(gnutls_transport_ptr_t opaque, const void *buf, size_t len)
{
    TlsSocket *tls = opaque;

    if (tls->kernel) {
        gnutls_transport_set_errno(tls->session, EPIPE);
        return tls_kernel_swallows(tls->kernel) ? (ssize_t)len : -1;
    }
    if (len > OUT_SIZE - tls->out_end) {
        return would_block(tls);
    }
    memcpy(tls->out + tls->out_end, buf, len);
    tls->out_end += len;
    return (ssize_t)len;
}

/* --- the inner socket's side --- */

/* Gets more for gnutls to read: 0 or -errno. */
static int co_fill(TlsSocket *tls)
{
    ssize_t n;

    if (tls->in_pos < tls->in_end || tls->ended) {
        return 0;
    }
    n = co_socket_recv(tls->inner, tls->in, IN_SIZE);
    if (n < 0) {
        return (int)n;
    }
    tls->in_pos = 0;
    tls->in_end = (size_t)n;
    tls->ended = n == 0;
    return 0;
}

/* Sends what gnutls has written; the buffer is empty then.  0 or -errno. */
static int co_flush(TlsSocket *tls, bool may_interrupt)
{
    while (tls->out_pos < tls->out_end) {
        struct iovec iov = {tls->out + tls->out_pos, tls->out_end - tls->out_pos};
        IoSlice rest = io_slice(&iov, 1);
        ssize_t n;

        if (may_interrupt) {
            n = co_socket_send_some(tls->inner, &rest);
        } else {
            n = co_socket_send(tls->inner, &rest);
            n = n < 0 ? n : (ssize_t)iov.iov_len;
        }
        if (n < 0) {
            return (int)n;
        }
        tls->out_pos += (size_t)n;
    }
    tls->out_pos = tls->out_end = 0;
    return 0;
}

/* --- receiving --- */

/* A connection that was cut is told from one that breaks the protocol. */
static int errno_of_fault(const TlsSocket *tls)
{
    return tls->ended ? -ECONNRESET : -EPROTO;
}

/*
 * Takes what whole records have come: its length, or why there is none (0: the end).  gnutls tells
 * an error once.
 */
static ssize_t decrypt(TlsSocket *tls, uint8_t *buf, size_t len)
{
    size_t done = 0;
    ssize_t n = tls->fault;

    while (!tls->fault && done < len) {
        n = gnutls_record_recv(tls->session, buf + done, len - done);
        if (n <= 0) {
            n = tls->stuck ? GNUTLS_E_UNIMPLEMENTED_FEATURE : n;
            tls->fault = n < 0 && n != GNUTLS_E_AGAIN ? n : 0;
            break;
        }
        done += (size_t)n;
    }
    return done ? (ssize_t)done : n;
}

static ssize_t co_tls_recv(Socket *base, void *buf, size_t len)
{
    TlsSocket *tls = (TlsSocket *)base;

    for (;;) {
        ssize_t n = decrypt(tls, buf, len);
        int ret;

        if (n >= 0) {
            return n;
        }
        if (n != GNUTLS_E_AGAIN) {
            return errno_of_fault(tls);
        }
        ret = co_fill(tls);
        if (ret < 0) {
            return ret;
        }
    }
}

/* --- sending --- */

/* The bytes of @part in one piece. */
static const void *in_one_piece(TlsSocket *tls, const IoSlice *part)
{
    struct iovec first;
    size_t covered;

    io_slice_to_iov(part, &first, 1, &covered);
    if (covered == part->len) {
        return first.iov_base;
    }
    io_slice_read(part, tls->plain);
    return tls->plain;
}

/* Encrypts a first part of @data, as much as there is room for: its length or -errno. */
static ssize_t encrypt(TlsSocket *tls, const IoSlice *data)
{
    size_t done = 0;

    while (done < data->len && OUT_SIZE - tls->out_end >= RECORD + RECORD_OVERHEAD) {
        IoSlice part = io_slice_sub(data, done, MIN(data->len - done, RECORD));
        ssize_t n = gnutls_record_send(tls->session, in_one_piece(tls, &part), part.len);

        if (n < 0) {
            return errno_of_fault(tls);
        }
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static ssize_t co_send_part(TlsSocket *tls, const IoSlice *data, bool may_interrupt)
{
    size_t sent;
    int ret;

    if (!tls->taken) {
        ssize_t n = tls->out_end ? 0 : encrypt(tls, data);

        if (n < 0) {
            return n;
        }
        tls->taken = (size_t)n;
    }
    ret = co_flush(tls, may_interrupt);
    if (ret < 0) {
        return ret;
    }
    sent = tls->taken;
    tls->taken = 0;
    return (ssize_t)sent;
}

static int co_tls_send(Socket *base, const IoSlice *data)
{
    TlsSocket *tls = (TlsSocket *)base;
    size_t done = 0;

    if (tls->kernel) {
        return co_tls_kernel_send(tls->kernel, data);
    }
    while (done < data->len) {
        IoSlice rest = io_slice_sub(data, done, data->len - done);
        ssize_t n = co_send_part(tls, &rest, false);

        if (n < 0) {
            return (int)n;
        }
        done += (size_t)n;
    }
    return 0;
}

/* What gnutls itself had to say goes first, and counts for nothing. */
static ssize_t co_tls_send_some(Socket *base, const IoSlice *data)
{
    TlsSocket *tls = (TlsSocket *)base;
    ssize_t n;

    if (tls->kernel) {
        return co_tls_kernel_send_some(tls->kernel, data);
    }
    do {
        n = co_send_part(tls, data, true);
    } while (n == 0);
    return n;
}

/* --- the rest of a socket --- */

static void tls_interrupt(Socket *base)
{
    socket_interrupt(((TlsSocket *)base)->inner);
}

static void tls_interrupt_send(Socket *base)
{
    socket_interrupt_send(((TlsSocket *)base)->inner);
}

static void tls_shutdown(Socket *base)
{
    socket_shutdown(((TlsSocket *)base)->inner);
}

static int tls_fd(const Socket *base)
{
    return socket_fd(((const TlsSocket *)base)->inner);
}

static void free_session(TlsSocket *tls)
{
    tls_kernel_free(tls->kernel);
    gnutls_deinit(tls->session);
    g_free(tls->peer_name);
    g_free(tls->psk_client.fault);
    g_free(tls->in);
    g_free(tls->out);
    g_free(tls->plain);
    g_free(tls);
}

/* Says good-bye, so that the other side knows that nothing was cut off. */
static int co_tls_finish(Socket *base)
{
    TlsSocket *tls = (TlsSocket *)base;
    int ret;

    if (tls->finished) {
        return 0;
    }
    tls->finished = true;
    if (tls->kernel) {
        return co_tls_kernel_finish(tls->kernel);
    }
    ret = co_flush(tls, false);
    gnutls_bye(tls->session, GNUTLS_SHUT_WR);
    return ret < 0 ? ret : co_flush(tls, false);
}

/* The same, if it was not said and would not have to wait. */
static void say_bye(TlsSocket *tls)
{
    if (tls->kernel) {
        (void)!tls_kernel_alert(tls->kernel, GNUTLS_AL_WARNING, GNUTLS_A_CLOSE_NOTIFY);
        return;
    }
    gnutls_bye(tls->session, GNUTLS_SHUT_WR);
    if (tls->out_pos < tls->out_end) {
        (void)!send(socket_fd(tls->inner), tls->out + tls->out_pos, tls->out_end - tls->out_pos,
                    MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

static void tls_free(Socket *base)
{
    TlsSocket *tls = (TlsSocket *)base;

    if (!tls->finished) {
        say_bye(tls);
    }
    socket_free(tls->inner);
    free_session(tls);
}

static const SocketOps tls_ops = {
    .co_recv = co_tls_recv,
    .co_send = co_tls_send,
    .interrupt = tls_interrupt,
    .co_send_some = co_tls_send_some,
    .interrupt_send = tls_interrupt_send,
    .co_finish = co_tls_finish,
    .shutdown = tls_shutdown,
    .fd = tls_fd,
    .free = tls_free,
};

/* --- the start --- */

static int set_credentials(gnutls_session_t session, const TlsCreds *creds)
{
    if (creds->psk_server) {
        return gnutls_credentials_set(session, GNUTLS_CRD_PSK, creds->psk_server);
    }
    if (creds->psk_client) {
        return gnutls_credentials_set(session, GNUTLS_CRD_PSK, creds->psk_client);
    }
    if (creds->server) {
        /* What is shown, or not, is judged when the handshake is over. */
        gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUEST);
    }
    return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, creds->x509);
}

static int set_hostname(gnutls_session_t session, const char *hostname)
{
    /* Addresses are not announced: the name is for servers of many names. */
    return hostname && !g_hostname_is_ip_address(hostname)
               ? gnutls_server_name_set(session, GNUTLS_NAME_DNS, hostname, strlen(hostname))
               : 0;
}

static TlsSocket *tls_new(Socket *inner, const TlsCreds *creds, const char *hostname,
                          GError **errp)
{
    TlsSocket *tls = g_new0(TlsSocket, 1);
    int ret = gnutls_init(&tls->session,
                          (creds->server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK);

    if (ret >= 0) {
        ret = gnutls_priority_set_direct(tls->session, creds->priority, NULL);
    }
    if (ret >= 0) {
        ret = set_credentials(tls->session, creds);
    }
    if (ret >= 0) {
        ret = set_hostname(tls->session, hostname);
    }
    if (ret < 0) {
        tm_error_set(errp, "Cannot initialize TLS session: %s", gnutls_strerror(ret));
        free_session(tls);
        return NULL;
    }
    tls->psk_client.path = creds->psk_path;
    gnutls_session_set_ptr(tls->session, &tls->psk_client);
    gnutls_transport_set_ptr(tls->session, tls);
    gnutls_transport_set_push_function(tls->session, push);
    gnutls_transport_set_pull_function(tls->session, pull);
    tls->base.ops = &tls_ops;
    tls->inner = inner;
    tls->in = g_malloc(IN_SIZE);
    tls->out = g_malloc(OUT_SIZE);
    tls->plain = g_malloc(RECORD);
    return tls;
}

static int handshake_step(void *opaque)
{
    return gnutls_handshake(((TlsSocket *)opaque)->session);
}

/* Tells the other side why, if it listens. */
static bool co_fail(TlsSocket *tls, const TlsCreds *creds, int error, GError **errp)
{
    g_autofree char *why = tls_explain(tls->session, creds, error);

    gnutls_alert_send_appropriate(tls->session, error);
    (void)!co_flush(tls, false);
    return tm_error_set(errp, "TLS handshake failed: %s%s", gnutls_strerror(error), why);
}

static bool lost(TlsSocket *tls, const TlsCreds *creds, int error, GError **errp)
{
    g_autofree char *why = tls_explain(tls->session, creds, 0);

    return tm_error_set(errp, "TLS handshake failed: %s%s", g_strerror(error), why);
}

static bool co_handshake(TlsSocket *tls, const TlsCreds *creds, GError **errp)
{
    for (;;) {
        int ret = co_in_worker(handshake_step, tls);
        int io;

        if (ret < 0 && gnutls_error_is_fatal(ret)) {
            return co_fail(tls, creds, ret, errp);
        }
        io = co_flush(tls, false);
        if (ret == 0 && io == 0) {
            return true;
        }
        if (io == 0 && ret == GNUTLS_E_AGAIN &&
            gnutls_record_get_direction(tls->session) == 0) {
            io = co_fill(tls);
        }
        if (io < 0) {
            return lost(tls, creds, -io, errp);
        }
    }
}

typedef struct PeerCheck {
    TlsSocket *tls;
    const TlsCreds *creds;
    const char *hostname;
    GError **errp;
} PeerCheck;

static int check_step(void *opaque)
{
    PeerCheck *check = opaque;

    return tls_check_peer(check->tls->session, check->creds, check->hostname,
                          &check->tls->peer_name, check->errp);
}

/* Without an alert who is refused would only see the end of the connection. */
static bool co_check_peer(TlsSocket *tls, const TlsCreds *creds, const char *hostname,
                          GError **errp)
{
    PeerCheck check = {tls, creds, hostname, errp};

    if (co_in_worker(check_step, &check)) { /* a chain may be long */
        return true;
    }
    gnutls_alert_send(tls->session, GNUTLS_AL_FATAL, GNUTLS_A_BAD_CERTIFICATE);
    (void)!co_flush(tls, false);
    return false;
}

/* gnutls would answer when it sends next, which it does no more. */
static int key_update_came(gnutls_session_t session, unsigned type, unsigned when,
                           unsigned incoming, const gnutls_datum_t *message)
{
    TlsSocket *tls = gnutls_transport_get_ptr(session);
    bool requested = message->size == 1 && message->data[0] == 1;

    if (incoming && requested && !tls_kernel_update(tls->kernel)) {
        g_message("%s: the other side of the TLS connection wants new keys, and this kernel "
                  "(before Linux 6.14) cannot change them", tls->base.peer);
        (void)!tls_kernel_alert(tls->kernel, GNUTLS_AL_FATAL, GNUTLS_A_INTERNAL_ERROR);
        tls->stuck = tls->finished = true;
    }
    return 0;
}

static void use_kernel(TlsSocket *tls)
{
    tls->kernel = tls_kernel_start(tls->inner, tls->session);
    if (tls->kernel) {
        gnutls_handshake_set_hook_function(tls->session, GNUTLS_HANDSHAKE_KEY_UPDATE,
                                           GNUTLS_HOOK_POST, key_update_came);
        g_clear_pointer(&tls->out, g_free);
        g_clear_pointer(&tls->plain, g_free);
    }
}

static void deadline_passed(void *opaque)
{
    socket_shutdown(opaque);
}

bool co_tls_start(Socket **socket, const TlsCreds *creds, const char *hostname,
                  int64_t deadline_ns, GError **errp)
{
    TlsSocket *tls = tls_new(*socket, creds, hostname, errp);
    LoopTimer timer;
    bool ok;

    if (!tls) {
        return false;
    }
    loop_timer_init(&timer, deadline_passed, *socket);
    if (deadline_ns != INT64_MAX) {
        loop_timer_set(&timer, deadline_ns);
    }
    ok = co_handshake(tls, creds, errp) && co_check_peer(tls, creds, hostname, errp);
    loop_timer_cancel(&timer);
    if (!ok) {
        free_session(tls);
        return false;
    }
    tls->base.peer = g_strdup((*socket)->peer);
    tls->doubt = tls_doubt(tls->session, creds);
    use_kernel(tls);
    *socket = &tls->base;
    return true;
}

const char *tls_socket_peer_name(const Socket *socket)
{
    g_assert(socket->ops == &tls_ops);
    return ((const TlsSocket *)socket)->peer_name;
}

const char *tls_socket_doubt(const Socket *socket)
{
    g_assert(socket->ops == &tls_ops);
    return ((const TlsSocket *)socket)->doubt;
}
