/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ring of a loop: private to io/.  A thin layer on liburing that knows which operation a
 * completion belongs to, never fails to give a submission entry, and sets the ring up the fastest
 * way that the running kernel offers.
 */
#ifndef IO_RING_H
#define IO_RING_H

#include <glib.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

/* An operation in flight, embedded in its user; must stay in place until done() ran. */
typedef struct RingOp RingOp;
typedef void RingDoneFn(RingOp *op, int res);
struct RingOp {
    RingDoneFn *done; /* runs on the loop's own stack, once for each ring_queue() */
};

typedef struct Ring {
    struct io_uring uring;
    bool enabled;        /* a thread has made it its own */
    bool has_fine_waits; /* they end within microseconds of their limit, and not of a tick */
    unsigned in_flight;  /* operations queued whose done() has not run */
    GArray *stash;       /* of RingDone: completions taken early, to make room */
} Ring;

/* 0 or -errno. */
int ring_init(Ring *ring);
void ring_exit(Ring *ring);

/* Makes the calling thread the one that uses the ring, until ring_detach(): always the same one. */
int ring_attach(Ring *ring);
void ring_detach(Ring *ring);

/* A submission entry to be prepared and then given to ring_queue() before anything else is done. */
struct io_uring_sqe *ring_sqe(Ring *ring);
void ring_queue(Ring *ring, struct io_uring_sqe *sqe, RingOp *op);

/*
 * Asks for the end of @op, whose done() still runs (with -ECANCELED, or its result if it was
 * faster).
 */
void ring_cancel(Ring *ring, RingOp *op);

/*
 * Submits what is queued; waits for a completion for at most @wait_ns (0: not, INT64_MAX: no
 * limit).
 */
void ring_submit(Ring *ring, int64_t wait_ns);

/* Runs done() of the operations that have completed. */
void ring_dispatch(Ring *ring);

/*
 * Is there something for ring_submit() to do but wait: completions, news that the kernel has not
 * made into some, or entries that it did not take?  Costs no system call.
 */
bool ring_has_news(Ring *ring);

/* Are there entries that ring_submit() would submit? */
bool ring_has_queued(Ring *ring);

#endif
