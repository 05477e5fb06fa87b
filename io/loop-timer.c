/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Timers: a binary heap of the armed ones, the earliest at index 0. */
#include "io/loop-private.h"

static void place(Loop *loop, unsigned index, LoopTimer *timer)
{
    loop->timers[index] = timer;
    timer->heap_index = index;
}

static void sift_up(Loop *loop, LoopTimer *timer)
{
    unsigned index = timer->heap_index;

    while (index) {
        LoopTimer *parent = loop->timers[(index - 1) / 2];

        if (parent->deadline_ns <= timer->deadline_ns) {
            break;
        }
        place(loop, index, parent);
        index = (index - 1) / 2;
    }
    place(loop, index, timer);
}

static void sift_down(Loop *loop, LoopTimer *timer)
{
    unsigned index = timer->heap_index, child;

    while ((child = 2 * index + 1) < loop->n_timers) {
        if (child + 1 < loop->n_timers &&
            loop->timers[child + 1]->deadline_ns < loop->timers[child]->deadline_ns) {
            child++;
        }
        if (timer->deadline_ns <= loop->timers[child]->deadline_ns) {
            break;
        }
        place(loop, index, loop->timers[child]);
        index = child;
    }
    place(loop, index, timer);
}

static void add(Loop *loop, LoopTimer *timer)
{
    if (loop->n_timers == loop->timers_room) {
        loop->timers_room = MAX(16, 2 * loop->timers_room);
        loop->timers = g_renew(LoopTimer *, loop->timers, loop->timers_room);
    }
    timer->loop = loop;
    place(loop, loop->n_timers++, timer);
}

void loop_timer_init(LoopTimer *timer, LoopFn *fn, void *opaque)
{
    *timer = (LoopTimer){.fn = fn, .opaque = opaque};
}

void loop_timer_set(LoopTimer *timer, int64_t deadline_ns)
{
    Loop *loop = loop_current();

    /* In order with those that have run: one that always sets itself to the past starves nobody. */
    timer->deadline_ns = MAX(deadline_ns, loop->timers_ran_ns + 1);
    if (!timer->loop) {
        add(loop, timer);
    }
    g_assert(timer->loop == loop);
    sift_up(loop, timer);
    sift_down(loop, timer);
}

void loop_timer_cancel(LoopTimer *timer)
{
    Loop *loop = timer->loop;
    LoopTimer *last;

    if (!loop) {
        return;
    }
    g_assert(loop == loop_current());
    timer->loop = NULL;
    last = loop->timers[--loop->n_timers];
    if (last != timer) {
        place(loop, timer->heap_index, last);
        sift_up(loop, last);
        sift_down(loop, last);
    }
}

int64_t loop_timers_next(const Loop *loop)
{
    return loop->n_timers ? loop->timers[0]->deadline_ns : INT64_MAX;
}

void loop_timers_run(Loop *loop)
{
    if (!loop->n_timers) {
        return;
    }
    loop->timers_ran_ns = loop_now_ns();
    while (loop_timers_next(loop) <= loop->timers_ran_ns) {
        LoopTimer *timer = loop->timers[0];

        loop_timer_cancel(timer);
        timer->fn(timer->opaque);
    }
}
