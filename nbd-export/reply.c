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
        request->chunks = g_renew(NbdChunk, was_inline ? NULL : request->chunks,
                                  request->max_chunks);
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

/* Begins a structured chunk whose payload (behind the chunk's header) has @len bytes. */
static uint8_t *put_header(uint8_t *p, const NbdRequest *request, uint16_t type, uint32_t len)
{
    p = nbd_put32(p, NBD_STRUCTURED_REPLY_MAGIC);
    p = nbd_put16(p, 0);
    p = nbd_put16(p, type);
    p = nbd_put64(p, request->cookie);
    return nbd_put32(p, len);
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

    if (!request->session->structured) {
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

void nbd_reply_status(NbdRequest *request, GByteArray *wire)
{
    NbdChunk *chunk = add_chunk(request);

    chunk->payload_len = wire->len;
    end_head(chunk, put_header(chunk->head, request, NBD_REPLY_BLOCK_STATUS, wire->len));
    chunk->payload = g_byte_array_free(wire, false);
    chunk->owned = true;
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

    if (!request->session->structured) {
        add_simple(request, error);
        g_free(message);
        return;
    }
    chunk = add_chunk(request);
    p = put_header(chunk->head, request, type, 6 + len + (offset ? 8 : 0));
    end_head(chunk, nbd_put16(nbd_put32(p, error), len));
    set_error_payload(chunk, message, len, offset);
}

/* A success without content: a simple reply is allowed and shorter, but not for a read. */
static void finish(NbdRequest *request)
{
    NbdChunk *last;

    if (request->n_chunks == 0) {
        if (request->session->structured && request->command == NBD_CMD_READ) {
            last = add_chunk(request);
            end_head(last, put_header(last->head, request, NBD_REPLY_NONE, 0));
        } else {
            add_simple(request, 0);
        }
    }
    last = &request->chunks[request->n_chunks - 1];
    if (nbd_get32(last->head) == NBD_STRUCTURED_REPLY_MAGIC) {
        nbd_put16(last->head + 4, NBD_REPLY_FLAG_DONE);
    }
}

/* --- Sending --- */

static unsigned iov_add(struct iovec *iov, unsigned n, void *base, size_t len)
{
    if (len == 0) {
        return n;
    }
    iov[n] = (struct iovec){ .iov_base = base, .iov_len = len };
    return n + 1;
}

/* Gathers ready replies, from the first chunk that was not sent on, into the iovecs. */
static unsigned gather(NbdSession *session)
{
    unsigned n = 0;

    for (NbdRequest *request = session->ready; request; request = request->next) {
        while (request->n_sent < request->n_chunks) {
            NbdChunk *chunk = &request->chunks[request->n_sent];

            if (n + 2 > NBD_MAX_IOV) {
                return n;
            }
            n = iov_add(session->iov, n, chunk->head, chunk->head_len);
            n = iov_add(session->iov, n, chunk->payload, chunk->payload_len);
            request->n_sent++;
        }
    }
    return n;
}

/* Gives back the requests whose reply is sent; all of them when the connection is broken. */
static void reap(NbdSession *session)
{
    NbdRequest *request;

    while ((request = session->ready) &&
           (session->dead || request->n_sent == request->n_chunks)) {
        session->ready = request->next;
        nbd_request_free(request);
    }
    if (!session->ready) {
        session->ready_tail = &session->ready;
    }
}

static void co_send_ready(void *opaque)
{
    NbdSession *session = opaque;

    while (session->ready) {
        if (!session->dead) {
            unsigned n = gather(session);
            IoSlice data = io_slice(session->iov, n);

            if (co_socket_send(session->socket, &data) < 0) {
                nbd_session_disconnect(session);
            }
        }
        reap(session);
    }
    session->sending = false;
    co_queue_wake_all(&session->wake);
}

static void send_turn(void *opaque)
{
    co_start(co_send_ready, opaque);
}

void nbd_reply_send(NbdRequest *request)
{
    NbdSession *session = request->session;

    finish(request);
    request->next = NULL;
    *session->ready_tail = request;
    session->ready_tail = &request->next;
    if (!session->sending) {
        session->sending = true;
        loop_defer(&session->send_later);
    }
}

bool nbd_replies_idle(const NbdSession *session)
{
    return !session->sending;
}

void nbd_replies_init(NbdSession *session)
{
    session->ready_tail = &session->ready;
    session->send_later = (LoopDeferred){ .fn = send_turn, .opaque = session };
}
