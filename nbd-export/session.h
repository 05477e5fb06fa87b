/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The transmission phase of one connection.
 *
 * One coroutine, the reader, lives as long as the session: it takes requests from the receive
 * buffer and starts a coroutine for each. A finished request queues its reply, and at the end of
 * the loop's turn a sender sends all replies that are ready. The reader stops reading when too many
 * requests or bytes are under way, so that memory is bounded and a client that does not read its
 * replies only harms itself.
 *
 * All of it is on the loop of the export's graph, and moves with it (nbd-export.h): the graph is
 * drained then, so that no request is under way, only replies may be, and requests set aside.
 */
#ifndef NBD_EXPORT_SESSION_H
#define NBD_EXPORT_SESSION_H

#include "io/co-lock.h"
#include "io/socket.h"
#include "nbd-export/buffer-pool.h"
#include "nbd-export/lull.h"
#include "nbd-export/nbd-export.h"
#include "nbd-export/wire.h"

/* Requests that one connection may have under way. */
#define NBD_MAX_REQUESTS 64
/* One receive can bring as many requests as fit. */
#define NBD_RECEIVE_BUFFER (128u << 10)
#define NBD_MAX_IOV 128
/* A wake-up matters to who carries out requests of up to so many bytes. */
#define NBD_LULL_MAX_LENGTH 16384
/* Of replies that wait in the kernel, on a unix socket; bytes. */
#define NBD_SEND_BUFFER (1 << 20)

/* A piece of a reply: a small head, and a payload that lies elsewhere. */
typedef struct NbdChunk {
    uint8_t head[48];
    uint8_t head_len;
    bool owned; /* g_free(payload) when sent */
    uint32_t payload_len;
    void *payload;
} NbdChunk;

typedef struct NbdRequest {
    NbdSession *session;
    struct NbdRequest *next; /* of the unused, those set aside or those whose reply is ready */

    uint16_t flags, command;
    uint64_t cookie;
    uint64_t offset, length; /* the range */
    uint64_t done;           /* of the range, where it is carried out in pieces */
    uint64_t payload;        /* bytes that the client sends with it and that were not taken yet */
    GArray *contexts;        /* of a block status that is about some of those selected; or NULL */

    /* From the pool: the data of a read or write, what a block status says; else 0 and NULL. */
    void *buffer;
    size_t buffer_len;

    /* The reply; the chunks go out in order. */
    NbdChunk *chunks; /* inline_chunks, or allocated where those do not suffice */
    unsigned n_chunks, max_chunks, n_gathered;
    NbdChunk inline_chunks[2];
} NbdRequest;

struct NbdSession {
    NbdExport *export;
    Socket *socket;
    NbdMode mode;
    GArray *contexts;         /* of uint32_t: indexes into export->contexts, those selected */
    NbdSession *next, **prev; /* export->sessions */

    bool on_loop;    /* in export->sessions */
    bool must_leave; /* the graph moves: the reader goes away and comes back */
    bool ending;     /* no request comes any more */
    bool dead;       /* the connection is broken: replies are dropped */
    CoQueue wake;    /* the reader waits here for anything but the client */

    uint8_t *rx;
    size_t rx_pos, rx_end;
    bool can_lull;   /* what the client has not read can be told */
    bool took_large; /* a request that takes longer than to be woken for it */
    NbdLull lull;

    NbdRequest *unused;
    NbdRequest *set_aside; /* begun, and to go on when the export takes requests again */
    unsigned n_requests;   /* under way, until the reply has been sent or dropped */
    NbdBufferPool buffers;

    NbdRequest *ready, **ready_tail; /* replies to be sent */
    bool sending;                    /* a sender runs, or will at the end of the turn */
    LoopDeferred send_later;
    struct iovec iov[NBD_MAX_IOV]; /* the batch that is being sent */
    unsigned n_iov;
    size_t batch_len, batch_sent; /* bytes of it */
};

/*
 * Runs the transmission phase on a negotiated connection, until it ends; called on loop 0 and
 * returns there.  Takes over @socket and @contexts, and gives back the export's client
 * place that the negotiation took.
 */
void co_nbd_session_run(NbdExport *export, Socket *socket, NbdMode mode, GArray *contexts);

/* Asks a session to leave its loop, or breaks its connection.  Its loop. */
void nbd_session_ask_to_leave(NbdSession *session);
void nbd_session_disconnect(NbdSession *session);
/* Its export takes requests again. */
void nbd_session_resume(NbdSession *session);

/* --- Among the files of the session --- */

/* A request object; NULL where NBD_MAX_REQUESTS are under way. */
NbdRequest *nbd_request_new(NbdSession *session);
/* Gives it and its buffer back. */
void nbd_request_free(NbdRequest *request);

/* Keeps one that was begun while the export takes none; nothing of the graph waits for it. */
void nbd_request_set_aside(NbdRequest *request);

/* requests.c */

/* What is wrong with a request, as 0 or an NBD error and its text (*message, to be freed). */
G_GNUC_WARN_UNUSED_RESULT uint32_t nbd_request_check(const NbdRequest *request, char **message);

/* Carries it out (a coroutine's main function) and queues its reply, or sets it aside. */
void co_nbd_request_execute(void *request);

/* block-status.c */

/*
 * Is the payload of a block status one that may be read and looked at?  Not where it is too long or
 * too short, or the mode knows none.
 */
bool nbd_status_payload_fits(const NbdRequest *request);
/* Takes it: request->contexts and ->length become what it says; false where that is nonsense. */
bool nbd_status_payload_take(NbdRequest *request, const uint8_t *payload);

/* What describing the range may take of a buffer at most; for one that was checked. */
size_t nbd_status_buffer_len(const NbdRequest *request);

/* Describes the range in each of its contexts.  0 or -errno; chunks of a reply are there then. */
G_GNUC_WARN_UNUSED_RESULT int co_nbd_block_status(NbdRequest *request);

/* reply.c: chunks of a reply, then the order to send it, with which the request object is given
 * away. */
void nbd_reply_data(NbdRequest *request, uint64_t offset, void *data, uint32_t len);
void nbd_reply_hole(NbdRequest *request, uint64_t offset, uint32_t len);
void nbd_reply_status(NbdRequest *request, void *wire, uint32_t len);
/* An error with its text (takes it over; may be NULL); @offset where only what lies from there on
 * failed. */
void nbd_reply_error(NbdRequest *request, uint32_t error, char *message, const uint64_t *offset);
void nbd_reply_send(NbdRequest *request);
void nbd_replies_init(NbdSession *session);
/* Stops the sender, which may be waiting for a client that does not read, as soon as it can be. */
void nbd_replies_interrupt(NbdSession *session);
/* Goes on where it was stopped, perhaps on another loop. */
void nbd_replies_resume(NbdSession *session);

#endif
