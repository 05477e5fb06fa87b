/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sleeps of coroutines; see co.h. */
#include "io/co-private.h"

/* Whoever comes second finds nobody asleep. */
static Co *end_sleep(CoSleep *sleep, bool woken)
{
    sleep->woken = woken;
    return g_steal_pointer(&sleep->co);
}

static void deadline_passed(void *opaque)
{
    CoSleep *sleep = opaque;

    if (sleep->co) {
        co_resume(end_sleep(sleep, false));
    }
}

bool co_sleep_until(CoSleep *sleep, int64_t deadline_ns)
{
    LoopTimer timer;

    g_assert(!sleep->co);
    loop_timer_init(&timer, deadline_passed, sleep);
    if (deadline_ns != INT64_MAX) {
        loop_timer_set(&timer, deadline_ns);
    }
    sleep->co = co_self();
    co_suspend();
    loop_timer_cancel(&timer);
    return !sleep->woken;
}

void co_sleep_wake(CoSleep *sleep)
{
    if (sleep->co) {
        co_ready(end_sleep(sleep, true));
    }
}

static void sleep_over(void *opaque)
{
    co_resume(opaque);
}

void co_sleep_ns(int64_t ns)
{
    LoopTimer timer;

    loop_timer_init(&timer, sleep_over, co_self());
    loop_timer_set(&timer, loop_now_ns() + ns);
    co_suspend();
}
