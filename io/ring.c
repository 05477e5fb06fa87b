/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ring of a loop; see ring.h. */
#include "io/ring.h"

#include <errno.h>
#include <string.h>

#define SQ_ENTRIES 256
#define CQ_ENTRIES 4096 /* more completions than that wait in the kernel (IORING_FEAT_NODROP) */
#define NS_PER_S 1000000000

#define FEATURES (IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_SUBMIT_STABLE)
#define COMMON (IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED)

/* Ways to set up a ring, best first: Linux 6.1, 5.19, 5.11. */
static const unsigned setup_flags[] = {
    COMMON | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SINGLE_ISSUER |
        IORING_SETUP_DEFER_TASKRUN,
    COMMON | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_COOP_TASKRUN,
    COMMON,
};

typedef struct RingDone {
    RingOp *op;
    int res;
} RingDone;

int ring_init(Ring *ring)
{
    int ret = -EINVAL;

    for (unsigned i = 0; i < G_N_ELEMENTS(setup_flags) && ret == -EINVAL; i++) {
        struct io_uring_params params = {.flags = setup_flags[i], .cq_entries = CQ_ENTRIES};

        ret = io_uring_queue_init_params(SQ_ENTRIES, &ring->uring, &params);
    }
    if (ret < 0) {
        return ret;
    }
    if ((ring->uring.features & FEATURES) != FEATURES) {
        io_uring_queue_exit(&ring->uring);
        return -ENOSYS;
    }
    ring->enabled = false;
    /* Such rings are Linux 5.19's, such waits 5.17's. */
    ring->has_fine_waits = ring->uring.flags & IORING_SETUP_TASKRUN_FLAG;
    ring->in_flight = 0;
    ring->stash = g_array_new(FALSE, FALSE, sizeof(RingDone));
    return 0;
}

void ring_exit(Ring *ring)
{
    g_assert(!ring->in_flight);
    io_uring_queue_exit(&ring->uring);
    g_array_unref(ring->stash);
}

/*
 * The registered descriptor saves a look-up for each system call.  It belongs to the thread, so
 * it must be given back by the same thread (io_uring_queue_exit() elsewhere would take another
 * ring's).
 */
int ring_attach(Ring *ring)
{
    if (!ring->enabled) {
        /* Not io_uring_enable_rings(): liburing 2.3 forgot to export it. */
        int ret =
            io_uring_register((unsigned)ring->uring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);

        if (ret < 0) {
            return ret;
        }
        ring->enabled = true;
    }
    io_uring_register_ring_fd(&ring->uring);
    return 0;
}

void ring_detach(Ring *ring)
{
    io_uring_unregister_ring_fd(&ring->uring);
}

/* Takes completions out of the full queue, so that the kernel can go on. */
static void stash_completions(Ring *ring)
{
    struct io_uring_cqe *cqe;

    io_uring_get_events(&ring->uring);
    while (io_uring_cq_ready(&ring->uring) && io_uring_peek_cqe(&ring->uring, &cqe) == 0) {
        RingDone done = {.op = io_uring_cqe_get_data(cqe), .res = cqe->res};

        io_uring_cqe_seen(&ring->uring, cqe);
        g_array_append_val(ring->stash, done);
    }
}

struct io_uring_sqe *ring_sqe(Ring *ring)
{
    struct io_uring_sqe *sqe;

    while (!(sqe = io_uring_get_sqe(&ring->uring))) {
        if (io_uring_submit(&ring->uring) <= 0) {
            stash_completions(ring);
        }
    }
    return sqe;
}

void ring_queue(Ring *ring, struct io_uring_sqe *sqe, RingOp *op)
{
    io_uring_sqe_set_data(sqe, op);
    ring->in_flight++;
}

void ring_cancel(Ring *ring, RingOp *op)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);

    io_uring_prep_cancel(sqe, op, 0);
    io_uring_sqe_set_data(sqe, NULL);
}

/* The kernel has something for us that it delivers only inside io_uring_enter(). */
static bool needs_enter(Ring *ring)
{
    return IO_URING_READ_ONCE(*ring->uring.sq.kflags) & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN);
}

static bool has_completions(Ring *ring)
{
    return ring->stash->len || io_uring_cq_ready(&ring->uring);
}

bool ring_has_queued(Ring *ring)
{
    return io_uring_sq_ready(&ring->uring);
}

bool ring_has_news(Ring *ring)
{
    return has_completions(ring) || needs_enter(ring) || ring_has_queued(ring);
}

void ring_submit(Ring *ring, int64_t wait_ns)
{
    struct io_uring *uring = &ring->uring;
    struct io_uring_cqe *cqe;
    int ret = 0;

    if (wait_ns <= 0 || has_completions(ring)) {
        if (ring_has_queued(ring) || needs_enter(ring)) {
            ret = io_uring_submit_and_get_events(uring);
        }
    } else if (wait_ns == INT64_MAX) {
        ret = io_uring_submit_and_wait(uring, 1);
    } else {
        struct __kernel_timespec ts = {wait_ns / NS_PER_S, wait_ns % NS_PER_S};

        ret = io_uring_submit_and_wait_timeout(uring, &cqe, 1, &ts, NULL);
    }
    /* These leave entries in the queue for the next turn; other errors mean a broken ring. */
    if (ret < 0 && ret != -ETIME && ret != -EINTR && ret != -EBUSY && ret != -EAGAIN &&
        ret != -ENOMEM) {
        g_error("io_uring_enter failed: %s", g_strerror(-ret));
    }
}

static void run_done(Ring *ring, RingOp *op, int res)
{
    if (op) {
        ring->in_flight--;
        op->done(op, res);
    }
}

static void dispatch_stash(Ring *ring)
{
    GArray *stash = ring->stash;

    ring->stash = g_array_new(FALSE, FALSE, sizeof(RingDone));
    for (guint i = 0; i < stash->len; i++) {
        RingDone *done = &g_array_index(stash, RingDone, i);

        run_done(ring, done->op, done->res);
    }
    g_array_unref(stash);
}

/* No more than were there at the start, so that operations that end at once starve nobody. */
void ring_dispatch(Ring *ring)
{
    if (ring->stash->len) {
        dispatch_stash(ring);
    }
    for (unsigned n = io_uring_cq_ready(&ring->uring); n; n--) {
        struct io_uring_cqe *cqe;
        RingOp *op;
        int res;

        if (!io_uring_cq_ready(&ring->uring) || io_uring_peek_cqe(&ring->uring, &cqe) < 0) {
            break; /* a done() needed room and stashed the rest */
        }
        op = io_uring_cqe_get_data(cqe);
        res = cqe->res;
        io_uring_cqe_seen(&ring->uring, cqe);
        run_done(ring, op, res);
    }
}
