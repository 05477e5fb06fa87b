/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Operations on the ring for which a coroutine waits; see co-private.h. */
#include "io/co-private.h"
#include "io/loop-private.h"

static void op_done(RingOp *ring_op, int res)
{
    CoOp *op = (CoOp *)ring_op; /* its first member */

    op->res = res;
    co_resume(op->co);
}

struct io_uring_sqe *co_op_sqe(void)
{
    return ring_sqe(&loop_current()->ring);
}

int co_op_run(CoOp *op, struct io_uring_sqe *sqe)
{
    op->ring.done = op_done;
    op->co = co_self();
    ring_queue(&loop_current()->ring, sqe, &op->ring);
    co_suspend();
    return op->res;
}

void co_op_cancel(CoOp *op)
{
    ring_cancel(&co_loop(op->co)->ring, &op->ring);
}
