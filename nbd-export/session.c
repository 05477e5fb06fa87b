/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The transmission phase of one connection: its life and its reader; see session.h. */
#include "nbd-export/session.h"

#include <errno.h>
#include <sys/socket.h>

#include "block/control.h"

#define FAREWELL_NS INT64_C(5000000000) /* so long the last bytes may take */

/* --- Request objects --- */

NbdRequest *nbd_request_new(NbdSession *session)
{
    NbdRequest *request = session->unused;

    if (session->n_requests == NBD_MAX_REQUESTS) {
        return NULL;
    }
    if (request) {
        session->unused = request->next;
    } else {
        request = g_new0(NbdRequest, 1);
        request->session = session;
    }
    session->n_requests++;
    request->chunks = request->inline_chunks;
    request->max_chunks = G_N_ELEMENTS(request->inline_chunks);
    request->n_chunks = request->n_gathered = 0;
    request->done = 0;
    request->buffer = NULL;
    request->buffer_len = 0;
    request->contexts = NULL;
    return request;
}

void nbd_request_free(NbdRequest *request)
{
    NbdSession *session = request->session;

    for (unsigned i = 0; i < request->n_chunks; i++) {
        if (request->chunks[i].owned) {
            g_free(request->chunks[i].payload);
        }
    }
    if (request->chunks != request->inline_chunks) {
        g_free(request->chunks);
    }
    g_clear_pointer(&request->contexts, g_array_unref);
    if (request->buffer) {
        nbd_buffer_put(&session->buffers, request->buffer, request->buffer_len);
    }
    request->next = session->unused;
    session->unused = request;
    session->n_requests--;
    co_queue_wake_all(&session->wake);
}

/* --- Requests set aside --- */

void nbd_request_set_aside(NbdRequest *request)
{
    request->next = request->session->set_aside;
    request->session->set_aside = request;
}

static NbdRequest *take_set_aside(NbdSession *session)
{
    NbdRequest *request = session->set_aside;

    if (request) {
        session->set_aside = request->next;
    }
    return request;
}

static void go_on_with_set_aside(NbdSession *session)
{
    NbdRequest *request;

    while (!session->export->base.quiesced && (request = take_set_aside(session))) {
        export_request_begin(&session->export->base);
        co_start(co_nbd_request_execute, request);
    }
}

static void give_up_set_aside(NbdSession *session)
{
    NbdRequest *request;

    while ((request = take_set_aside(session))) {
        nbd_request_free(request);
    }
}

/* --- Leaving the loop and coming back --- */

void nbd_session_disconnect(NbdSession *session)
{
    session->dead = true;
    socket_shutdown(session->socket);
    co_queue_wake_all(&session->wake);
}

void nbd_session_ask_to_leave(NbdSession *session)
{
    session->must_leave = true;
    socket_interrupt(session->socket);
    nbd_replies_interrupt(session);
    co_queue_wake_all(&session->wake);
}

void nbd_session_resume(NbdSession *session)
{
    go_on_with_set_aside(session);
    co_queue_wake_all(&session->wake);
}

/*
 * Follows the graph to its new loop. The graph is drained: no request of ours is under way, and a
 * reply that is half sent goes on there.
 */
static void co_follow(NbdSession *session)
{
    while (session->sending) {
        co_queue_wait(&session->wake);
    }
    session->must_leave = false;
    nbd_export_leave(session->export, session);
    co_move(control_loop());
    if (co_nbd_export_enter(session->export, session)) {
        go_on_with_set_aside(session);
    } else {
        nbd_session_disconnect(session);
    }
    nbd_replies_resume(session);
}

/* Waits for something that nbd_session_*() or a finished request brings; follows the graph. */
static void co_wait(NbdSession *session)
{
    if (!session->must_leave) {
        co_queue_wait(&session->wake);
    }
    if (session->must_leave) {
        co_follow(session);
    }
}

/* --- Receiving --- */

/* 1 to @len bytes; 0 or less when there is no more. */
static ssize_t co_receive(NbdSession *session, void *buf, size_t len)
{
    ssize_t n = -EINTR;

    while (n == -EINTR && !session->dead) {
        if (session->must_leave) {
            co_follow(session);
            continue;
        }
        n = co_socket_recv(session->socket, buf, len);
    }
    return session->dead ? -ECONNRESET : n;
}

/* Sees to it that the receive buffer holds @len bytes (at most its size). */
static bool co_fill(NbdSession *session, size_t len)
{
    size_t have = session->rx_end - session->rx_pos;

    if (have < len && session->rx_pos + len > NBD_RECEIVE_BUFFER) {
        memmove(session->rx, session->rx + session->rx_pos, have);
        session->rx_pos = 0;
        session->rx_end = have;
    }
    while (session->rx_end - session->rx_pos < len) {
        ssize_t n;

        if (session->rx_pos == session->rx_end) {
            session->rx_pos = session->rx_end = 0;
        }
        n = co_receive(session, session->rx + session->rx_end,
                       NBD_RECEIVE_BUFFER - session->rx_end);
        if (n <= 0) {
            return false;
        }
        session->rx_end += n;
    }
    return true;
}

/* The first part of a payload may be in the receive buffer; the rest goes straight to its place. */
static bool co_receive_payload(NbdSession *session, uint8_t *buf, size_t len)
{
    size_t have = MIN(len, session->rx_end - session->rx_pos);

    memcpy(buf, session->rx + session->rx_pos, have);
    session->rx_pos += have;
    /* A short rest comes with the requests behind it. */
    if (len > have && len - have < NBD_RECEIVE_BUFFER / 4) {
        size_t rest = len - have;

        if (!co_fill(session, rest)) {
            return false;
        }
        memcpy(buf + have, session->rx + session->rx_pos, rest);
        session->rx_pos += rest;
        return true;
    }
    while (have < len) {
        ssize_t n = co_receive(session, buf + have, len - have);

        if (n <= 0) {
            return false;
        }
        have += n;
    }
    return true;
}

static bool co_skip_payload(NbdSession *session, uint64_t len)
{
    while (len > 0) {
        size_t part;

        if (!co_fill(session, 1)) {
            return false;
        }
        part = MIN(len, session->rx_end - session->rx_pos);
        session->rx_pos += part;
        len -= part;
    }
    return true;
}

/* --- The reader --- */

static NbdRequest *co_request_new(NbdSession *session)
{
    NbdRequest *request;

    while (!session->dead) {
        request = nbd_request_new(session);
        if (request) {
            return request;
        }
        co_wait(session);
    }
    return NULL;
}

/* The buffer of a request. Waits for room; without memory the request has none. */
static void co_get_buffer(NbdSession *session, NbdRequest *request, size_t len)
{
    request->buffer_len = len;
    while (!session->dead && !nbd_buffers_have_room(&session->buffers, len)) {
        co_wait(session);
    }
    if (!session->dead) {
        request->buffer = nbd_buffer_get(&session->buffers, len);
    }
}

/* Neither a disk nor another client of the export has work for us, and this one's is small. */
static bool may_lull(NbdSession *session)
{
    const NbdExport *export = session->export;
    bool large = session->took_large;

    session->took_large = false;
    return !large && export->sessions == session && !session->next && export->base.in_flight == 0;
}

/* Looks away while the client has enough to do, and we have not (lull.h). */
static void co_lull(NbdSession *session)
{
    NbdLull *lull = &session->lull;
    int64_t ns;

    if (!may_lull(session)) {
        nbd_lull_skip(lull);
        return;
    }
    /* One that is barred gets none whatever the kernel says, so that is not asked. */
    ns = nbd_lull_next(lull, !lull->barred && socket_has_unread(session->socket));
    if (ns) {
        co_sleep_ns(ns);
    }
}

/* Takes the next request's header; false at the end, or when it is none. */
static bool co_read_header(NbdSession *session, NbdRequest *request)
{
    size_t len = nbd_header_size(session->mode);
    NbdHeader header;

    if (session->can_lull && session->rx_pos == session->rx_end) {
        co_lull(session);
    }
    if (!co_fill(session, len) ||
        !nbd_header_get(session->rx + session->rx_pos, session->mode, &header)) {
        return false;
    }
    session->rx_pos += len;
    session->lull.batch++;
    session->took_large |= header.length > NBD_LULL_MAX_LENGTH;
    request->flags = header.flags;
    request->command = header.command;
    request->cookie = header.cookie;
    request->offset = header.offset;
    request->length = header.length;
    request->payload = header.payload;
    return true;
}

/* The payload of a block status says what the request is about, so it is taken before that can be
 * checked. */
static bool co_take_status_payload(NbdSession *session, NbdRequest *request)
{
    size_t len = request->payload;

    if (request->command != NBD_CMD_BLOCK_STATUS || !nbd_status_payload_fits(request)) {
        return true;
    }
    if (!co_fill(session, len)) {
        return false;
    }
    if (nbd_status_payload_take(request, session->rx + session->rx_pos)) {
        session->rx_pos += len;
        request->payload = 0;
    }
    return true;
}

/*
 * Refuses a request that is wrong. Its payload is skipped first (clients send it before they look
 * for a reply) so that the session can go on; one that is too large costs more than a new
 * connection.
 */
static bool co_refuse(NbdSession *session, NbdRequest *request, uint32_t error, char *message)
{
    bool last = request->payload > NBD_MAX_PAYLOAD;

    if (!last && !co_skip_payload(session, request->payload)) {
        g_free(message);
        nbd_request_free(request);
        return false;
    }
    nbd_reply_error(request, error, message, NULL);
    nbd_reply_send(request);
    return !last;
}

static size_t buffer_len_of(const NbdRequest *request)
{
    switch (request->command) {
    case NBD_CMD_READ:
    case NBD_CMD_WRITE:
        return request->length;
    case NBD_CMD_BLOCK_STATUS:
        return nbd_status_buffer_len(request);
    default:
        return 0;
    }
}

/* Gets what the request needs before it can be carried out. */
static bool co_prepare(NbdSession *session, NbdRequest *request)
{
    size_t len = buffer_len_of(request);

    if (len == 0) {
        return true;
    }
    co_get_buffer(session, request, len);
    if (!request->buffer) {
        return !session->dead;
    }
    return request->command != NBD_CMD_WRITE ||
           co_receive_payload(session, request->buffer, request->length);
}

static bool co_start_request(NbdSession *session, NbdRequest *request)
{
    while (session->export->base.quiesced && !session->dead) {
        co_wait(session);
    }
    if (session->dead) {
        return false;
    }
    export_request_begin(&session->export->base);
    co_start(co_nbd_request_execute, request);
    return true;
}

/* Takes one request and starts it; false at the end of the session. */
static bool co_next_request(NbdSession *session)
{
    NbdRequest *request = co_request_new(session);
    g_autofree char *message = NULL;
    uint32_t error;

    if (!request) {
        return false;
    }
    if (!co_read_header(session, request) || request->command == NBD_CMD_DISC ||
        !co_take_status_payload(session, request)) {
        nbd_request_free(request);
        return false;
    }
    error = nbd_request_check(request, &message);
    if (error) {
        return co_refuse(session, request, error, g_steal_pointer(&message));
    }
    if (!co_prepare(session, request)) {
        nbd_request_free(request);
        return false;
    }
    if (request->buffer_len && !request->buffer) {
        return co_refuse(session, request, NBD_ENOMEM, g_strdup("No memory"));
    }
    if (!co_start_request(session, request)) {
        nbd_request_free(request);
        return false;
    }
    return true;
}

/* --- Life --- */

/*
 * A unix socket has room for 200 KiB by default: a large reply would be sent in pieces, with a
 * wake-up for each.  TCP finds its own size.
 */
static void widen_unix(const Socket *socket)
{
    int bytes = NBD_SEND_BUFFER;

    if (setsockopt(socket_fd(socket), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) < 0) {
        g_debug("the send buffer of %s stays small: %s", socket->peer, g_strerror(errno));
    }
}

static NbdSession *session_new(NbdExport *export, Socket *socket, NbdMode mode, GArray *contexts)
{
    NbdSession *session = g_new0(NbdSession, 1);

    session->export = export;
    session->socket = socket;
    session->mode = mode;
    session->contexts = contexts;
    session->rx = g_malloc(NBD_RECEIVE_BUFFER);
    nbd_replies_init(session);
    if (socket_is_unix(socket)) {
        widen_unix(socket);
        session->can_lull = loop_has_fine_timers();
        session->lull.barred = 1; /* it may not have read the last of the handshake yet */
    }
    return session;
}

static void session_free(NbdSession *session)
{
    while (session->unused) {
        NbdRequest *request = session->unused;

        session->unused = request->next;
        g_free(request);
    }
    g_assert(session->buffers.bytes_used == 0);
    g_array_unref(session->contexts);
    socket_free(session->socket);
    g_free(session->rx);
    g_free(session);
}

/* Requests that were started end, and their replies go out, unless the connection is broken. */
static void co_finish(NbdSession *session)
{
    session->ending = true;
    for (;;) {
        if (session->dead) {
            give_up_set_aside(session);
        }
        if (!session->n_requests && !session->sending) {
            break;
        }
        co_wait(session);
    }
    session->dead = true;
}

void co_nbd_session_run(NbdExport *export, Socket *socket, NbdMode mode, GArray *contexts)
{
    NbdSession *session = session_new(export, socket, mode, contexts);

    if (co_nbd_export_enter(export, session)) {
        while (!session->dead && co_next_request(session)) {
        }
        co_finish(session);
    }
    if (session->on_loop) {
        nbd_export_leave(export, session);
    }
    co_move(control_loop());
    /* The client sees the end of its connection only when the export knows of it, too. */
    co_export_client_end(&export->base);
    co_socket_finish(session->socket, loop_now_ns() + FAREWELL_NS);
    session_free(session);
}
