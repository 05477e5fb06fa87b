/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Replies: made of chunks, and sent together.
 *
 * Replies that become ready in one turn of the loop go out in one send; those that become ready
 * while it is under way go out in the next.
 */
#include "nbd-export/session.h"

/* --- Making --- */

static NbdChunk *add_chunk(NbdRequest *request)
{
    NbdChunk *chunk;

    if (request->n_chunks == request->max_chunks) {
        bool was_inline = request->chunks == request->inline_chunks;

        request->max_chunks *= 4;
        request->chunks =
            g_renew(NbdChunk, was_inline ? NULL : request->chunks, request->max_chunks);
        if (was_inline) {
            memcpy(request->chunks, request->inline_chunks, sizeof(request->inline_chunks));
        }
    }
    chunk = &request->chunks[request->n_chunks++];
    chunk->head_len = 0;
    chunk->owned = false;
    chunk->payload = NULL;
    chunk->payload_len = 0;
    return chunk;
}

/* Begins a chunk whose payload (behind the chunk's header) has @len bytes. */
static uint8_t *put_header(uint8_t *p, const NbdRequest *request, uint16_t type, uint32_t len)
{
    return nbd_chunk_header_put(p, request->session->mode, type, request->cookie, request->offset,
                                len);
}

static void end_head(NbdChunk *chunk, const uint8_t *end)
{
    chunk->head_len = end - chunk->head;
    g_assert(chunk->head_len <= sizeof(chunk->head));
}

static NbdChunk *add_simple(NbdRequest *request, uint32_t error)
{
    NbdChunk *chunk = add_chunk(request);
    uint8_t *p = nbd_put32(chunk->head, NBD_SIMPLE_REPLY_MAGIC);

    p = nbd_put32(p, error);
    end_head(chunk, nbd_put64(p, request->cookie));
    return chunk;
}

void nbd_reply_data(NbdRequest *request, uint64_t offset, void *data, uint32_t len)
{
    NbdChunk *chunk;

    if (request->session->mode == NBD_MODE_SIMPLE) {
        chunk = add_simple(request, 0);
    } else {
        chunk = add_chunk(request);
        end_head(chunk, nbd_put64(put_header(chunk->head, request, NBD_REPLY_OFFSET_DATA, 8 + len),
                                  offset));
    }
    chunk->payload = data;
    chunk->payload_len = len;
}

void nbd_reply_hole(NbdRequest *request, uint64_t offset, uint32_t len)
{
    NbdChunk *chunk = add_chunk(request);
    uint8_t *p = put_header(chunk->head, request, NBD_REPLY_OFFSET_HOLE, 12);

    end_head(chunk, nbd_put32(nbd_put64(p, offset), len));
}

void nbd_reply_status(NbdRequest *request, void *wire, uint32_t len)
{
    bool extended = request->session->mode == NBD_MODE_EXTENDED;
    uint16_t type = extended ? NBD_REPLY_BLOCK_STATUS_EXT : NBD_REPLY_BLOCK_STATUS;
    NbdChunk *chunk = add_chunk(request);

    end_head(chunk, put_header(chunk->head, request, type, len));
    chunk->payload = wire;
    chunk->payload_len = len;
}

/* Behind the message comes the offset, if there is one. */
static void set_error_payload(NbdChunk *chunk, char *message, size_t len, const uint64_t *offset)
{
    chunk->payload_len = len + (offset ? 8 : 0);
    chunk->owned = true;
    chunk->payload = g_realloc(message, MAX(chunk->payload_len, 1));
    if (offset) {
        nbd_put64((uint8_t *)chunk->payload + len, *offset);
    }
}

void nbd_reply_error(NbdRequest *request, uint32_t error, char *message, const uint64_t *offset)
{
    size_t len = message ? MIN(strlen(message), NBD_MAX_STRING) : 0;
    uint16_t type = offset ? NBD_REPLY_ERROR_OFFSET : NBD_REPLY_ERROR;
    NbdChunk *chunk;
    uint8_t *p;

    if (request->session->mode == NBD_MODE_SIMPLE) {
        add_simple(request, error);
        g_free(message);
        return;
    }
    chunk = add_chunk(request);
    p = put_header(chunk->head, request, type, 6 + len + (offset ? 8 : 0));
    end_head(chunk, nbd_put16(nbd_put32(p, error), len));
    set_error_payload(chunk, message, len, offset);
}

/* A success without content: a simple reply is shorter, where it is allowed. */
static bool may_be_simple(const NbdRequest *request)
{
    NbdMode mode = request->session->mode;

    return mode == NBD_MODE_SIMPLE ||
           (mode == NBD_MODE_STRUCTURED && request->command != NBD_CMD_READ);
}

static void finish(NbdRequest *request)
{
    NbdChunk *last;

    if (request->n_chunks == 0 && may_be_simple(request)) {
        add_simple(request, 0);
    } else if (request->n_chunks == 0) {
        last = add_chunk(request);
        end_head(last, put_header(last->head, request, NBD_REPLY_NONE, 0));
    }
    last = &request->chunks[request->n_chunks - 1];
    if (get_be32(last->head) != NBD_SIMPLE_REPLY_MAGIC) {
        nbd_chunk_header_set_done(last->head);
    }
}

/* --- Sending --- */

static void iov_add(NbdSession *session, void *base, size_t len)
{
    if (len > 0) {
        session->iov[session->n_iov++] = (struct iovec){.iov_base = base, .iov_len = len};
        session->batch_len += len;
    }
}

/* Makes a batch of ready replies, from the first chunk that was in none yet. */
static void gather(NbdSession *session)
{
    session->n_iov = 0;
    session->batch_len = session->batch_sent = 0;
    for (NbdRequest *request = session->ready; request; request = request->next) {
        while (request->n_gathered < request->n_chunks) {
            NbdChunk *chunk = &request->chunks[request->n_gathered];

            if (session->n_iov + 2 > NBD_MAX_IOV) {
                return;
            }
            iov_add(session, chunk->head, chunk->head_len);
            iov_add(session, chunk->payload, chunk->payload_len);
            request->n_gathered++;
        }
    }
}

/* Gives back the requests whose reply is sent; all of them when the connection is broken. */
static void reap(NbdSession *session)
{
    NbdRequest *request;

    while ((request = session->ready) &&
           (session->dead || request->n_gathered == request->n_chunks)) {
        session->ready = request->next;
        nbd_request_free(request);
    }
    if (!session->ready) {
        session->ready_tail = &session->ready;
    }
}

/* Sends what is left of the batch; false when it was stopped, to go on later. */
static bool co_send_batch(NbdSession *session)
{
    IoSlice batch = io_slice(session->iov, session->n_iov);

    while (session->batch_sent < session->batch_len && !session->dead) {
        size_t left = session->batch_len - session->batch_sent;
        IoSlice rest = io_slice_sub(&batch, session->batch_sent, left);
        ssize_t n = session->must_leave ? -EINTR : co_socket_send_some(session->socket, &rest);

        if (n == -EINTR && session->must_leave) {
            return false;
        }
        if (n > 0) {
            session->batch_sent += n;
        } else if (n != -EINTR) {
            nbd_session_disconnect(session);
        }
    }
    return true;
}

static void co_send_ready(void *opaque)
{
    NbdSession *session = opaque;

    while (session->ready && co_send_batch(session)) {
        reap(session);
        gather(session);
    }
    session->sending = false;
    co_queue_wake_all(&session->wake);
}

static void send_turn(void *opaque)
{
    NbdSession *session = opaque;

    if (session->batch_sent == session->batch_len) {
        gather(session);
    }
    co_start(co_send_ready, session);
}

static void send_at_end_of_turn(NbdSession *session)
{
    if (!session->sending && session->ready) {
        session->sending = true;
        loop_defer(&session->send_later);
    }
}

void nbd_reply_send(NbdRequest *request)
{
    NbdSession *session = request->session;

    finish(request);
    request->next = NULL;
    *session->ready_tail = request;
    session->ready_tail = &request->next;
    send_at_end_of_turn(session);
}

void nbd_replies_interrupt(NbdSession *session)
{
    if (session->sending) {
        socket_interrupt_send(session->socket);
    }
}

void nbd_replies_resume(NbdSession *session)
{
    send_at_end_of_turn(session);
}

void nbd_replies_init(NbdSession *session)
{
    session->ready_tail = &session->ready;
    session->send_later = (LoopDeferred){.fn = send_turn, .opaque = session};
}
