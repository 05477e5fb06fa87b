/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The coroutine that frees cached tables which nobody used for a while; see options.h. */
#include "block/drivers/qcow2/options.h"

typedef struct Qcow2Cleaner {
    BlockNode *node;
    CoSleep sleep;
    bool stop, ended;
    CoQueue waiters; /* for its end */
} Qcow2Cleaner;

static void co_clean(void *opaque)
{
    Qcow2Cleaner *cleaner = opaque;
    Qcow2State *s = qcow2_state(cleaner->node);
    int64_t interval = s->cache_clean_interval * INT64_C(1000000000);

    while (!cleaner->stop) {
        if (co_sleep_until(&cleaner->sleep, loop_now_ns() + interval)) {
            qcow2_cache_clean(s->l2_cache);
            qcow2_cache_clean(s->refcount_cache);
        }
    }
    cleaner->ended = true;
    co_queue_wake_all(&cleaner->waiters);
}

void qcow2_cleaner_start(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);

    if (s->cache_clean_interval) {
        s->cleaner = g_new0(Qcow2Cleaner, 1);
        s->cleaner->node = node;
        co_start_on(node->loop, co_clean, s->cleaner);
    }
}

void co_qcow2_cleaner_stop(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Cleaner *cleaner = s->cleaner;

    if (!cleaner) {
        return;
    }
    cleaner->stop = true;
    co_sleep_wake(&cleaner->sleep);
    while (!cleaner->ended) {
        co_queue_wait(&cleaner->waiters);
    }
    g_clear_pointer(&s->cleaner, g_free);
}
