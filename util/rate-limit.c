/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A rate limit; see rate-limit.h. */
#include "util/rate-limit.h"

#include <glib.h>
#include <time.h>

#define NS_PER_S 1000000000
#define MAX_COST_NS (INT64_MAX / 4) /* keeps sums in range; nobody waits for 73 years */

void rate_limit_set_speed(RateLimit *limit, uint64_t speed)
{
    atomic_store(&limit->speed, speed);
}

static int64_t cost_ns(uint64_t bytes, uint64_t speed)
{
    unsigned __int128 ns = (unsigned __int128)bytes * NS_PER_S / speed;

    return ns > MAX_COST_NS ? MAX_COST_NS : (int64_t)ns;
}

int64_t rate_limit_delay_at(RateLimit *limit, uint64_t bytes, int64_t now_ns)
{
    uint64_t speed = atomic_load(&limit->speed);

    if (speed != limit->seen_speed) {
        limit->seen_speed = speed;
        limit->due_ns = now_ns;
    }
    if (!speed) {
        return 0;
    }
    limit->due_ns = MAX(limit->due_ns, now_ns - RATE_LIMIT_SLICE_NS);
    limit->due_ns = MIN(limit->due_ns, MAX_COST_NS) + cost_ns(bytes, speed);
    return MAX(limit->due_ns - now_ns, 0);
}

int64_t rate_limit_delay_ns(RateLimit *limit, uint64_t bytes)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return rate_limit_delay_at(limit, bytes, (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec);
}
