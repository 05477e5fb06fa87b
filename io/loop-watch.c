/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Watches: one poll operation at a time for each, queued anew after each report, so that a
 * descriptor that stays ready is reported again.
 */
#include <errno.h>
#include <poll.h>

#include "io/loop-private.h"

struct LoopWatch {
    RingOp poll;
    Loop *loop;
    LoopWatchFn *fn;
    void *opaque;
    int fd;
    int events;  /* wanted */
    int polling; /* events of the poll in flight, 0 if there is none */
    bool cancelling;
    bool reporting; /* fn runs */
    bool freed;     /* by its user; the memory goes when neither poll nor fn is under way */
};

static void queue_poll(LoopWatch *watch)
{
    struct io_uring_sqe *sqe = ring_sqe(&watch->loop->ring);

    io_uring_prep_poll_add(sqe, watch->fd, watch->events);
    ring_queue(&watch->loop->ring, sqe, &watch->poll);
    watch->polling = watch->events;
    watch->cancelling = false;
}

/* Brings what is in flight in line with what is wanted. */
static void update(LoopWatch *watch)
{
    if (watch->reporting) {
        return;
    }
    if (!watch->polling) {
        if (watch->freed) {
            watch->loop->dying_watches--;
            g_free(watch);
        } else if (watch->events) {
            queue_poll(watch);
        }
    } else if (watch->polling != watch->events && !watch->cancelling) {
        watch->cancelling = true;
        ring_cancel(&watch->loop->ring, &watch->poll);
    }
}

static void report(LoopWatch *watch, int revents)
{
    watch->reporting = true;
    watch->fn(watch->opaque, revents);
    watch->reporting = false;
}

static void poll_done(RingOp *op, int res)
{
    LoopWatch *watch = (LoopWatch *)((char *)op - offsetof(LoopWatch, poll));
    int wanted = watch->events;

    watch->polling = 0;
    if (res < 0 && res != -ECANCELED && wanted) {
        watch->events = 0; /* it cannot be polled: say so once */
        report(watch, POLLERR);
    } else if (res > 0 && wanted && (res & (wanted | POLLERR | POLLHUP | POLLNVAL))) {
        report(watch, res);
    }
    update(watch);
}

LoopWatch *loop_watch_new(int fd, LoopWatchFn *fn, void *opaque)
{
    LoopWatch *watch = g_new0(LoopWatch, 1);

    watch->poll.done = poll_done;
    watch->loop = loop_current();
    watch->loop->watches++;
    watch->fn = fn;
    watch->opaque = opaque;
    watch->fd = fd;
    return watch;
}

void loop_watch_set(LoopWatch *watch, int events)
{
    g_assert(watch->loop == loop_current());
    watch->events = events;
    update(watch);
}

void loop_watch_free(LoopWatch *watch)
{
    if (!watch) {
        return;
    }
    g_assert(watch->loop == loop_current());
    watch->loop->watches--;
    watch->loop->dying_watches++;
    watch->events = 0;
    watch->freed = true;
    update(watch);
}
