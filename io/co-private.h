/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What waits inside io/ (operations, locks, sleeps) is built on: private to io/.
 *
 * This is beneath co_yield() and co_wake(), and apart from them: a wake that comes while a
 * coroutine is suspended here is kept for its next co_yield(), so nothing that belongs to an
 * operation under way is left too soon.
 */
#ifndef IO_CO_PRIVATE_H
#define IO_CO_PRIVATE_H

#include "io/co.h"
#include "io/ring.h"

/* Stops the running coroutine until exactly one co_ready() or co_resume(). */
void co_suspend(void);

/* Puts a suspended coroutine of the current loop on the ready list. */
void co_ready(Co *co);

/*
 * Goes on with it now, on the loop's own stack (where timers and operations end, so that they are
 * served in their order); from inside a coroutine the same as co_ready().
 */
void co_resume(Co *co);

/* The loop on which it lives. */
Loop *co_loop(const Co *co);

/* Frees the stacks that a loop keeps for later. */
void co_idle_free(Loop *loop);

/* An operation on the current loop's ring for which a coroutine waits; lies on its stack. */
typedef struct CoOp {
    RingOp ring;
    Co *co;
    int res;
} CoOp;

/* An entry to be prepared; then co_op_run() queues it, yields, and returns the result. */
struct io_uring_sqe *co_op_sqe(void);
G_GNUC_WARN_UNUSED_RESULT int co_op_run(CoOp *op, struct io_uring_sqe *sqe);
/* Makes it end early; on the loop where it runs. */
void co_op_cancel(CoOp *op);

#endif
