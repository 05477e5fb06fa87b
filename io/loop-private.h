/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the loop and of the coroutines share: private to io/. */
#ifndef IO_LOOP_PRIVATE_H
#define IO_LOOP_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "io/co-context.h"
#include "io/co.h"
#include "io/loop-inbox.h"
#include "io/loop-poll.h"
#include "io/loop.h"
#include "io/ring.h"

struct Loop {
    char *name;
    Ring ring;
    LoopInbox inbox;
    pthread_t thread; /* valid if has_thread */
    bool has_thread;
    _Atomic int thread_id;
    _Atomic bool stop;

    /* From here on: the loop's thread only. */
    LoopPoll poll;
    LoopWorkList ready;
    LoopDeferred *deferred, **deferred_tail;
    LoopTimer **timers; /* a binary heap, the earliest first */
    unsigned n_timers, timers_room;
    int64_t timers_ran_ns; /* those that were due by then have run */
    unsigned watches;
    unsigned dying_watches; /* freed, with a poll that has still to end */

    Co *co;               /* the running coroutine, NULL on the loop's own stack */
    CoContext context;    /* the loop's own stack, while a coroutine runs */
    unsigned coroutines;  /* that live on this loop */
    Co *idle;             /* ended ones, to be used again */
    unsigned n_idle;
};

/*
 * Runs work->fn on the loop's thread later, never inside this call; work is the caller's and must
 * stay until then.  Any thread, any number of works, in order for one caller; no allocation.
 */
void loop_post(Loop *loop, LoopWork *work);

/* When the next timer is due (INT64_MAX if there is none); running those that are. */
int64_t loop_timers_next(const Loop *loop);
void loop_timers_run(Loop *loop);

#endif
