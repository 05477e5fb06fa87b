/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A rate limit for the work of one job: work is accounted when it is done (or begun), and the limit
 * says how long to wait before the next piece.  Time in which too little was done can be caught up
 * by at most one slice.  Zero-initialised it does not limit.
 */
#ifndef UTIL_RATE_LIMIT_H
#define UTIL_RATE_LIMIT_H

#include <stdatomic.h>
#include <stdint.h>

#define RATE_LIMIT_SLICE_NS 100000000 /* 100 ms */

typedef struct RateLimit {
    _Atomic uint64_t speed; /* bytes per second, 0: no limit */
    uint64_t seen_speed;    /* the speed that due_ns was reckoned with */
    int64_t due_ns;         /* when all that was accounted may be over, at that speed */
} RateLimit;

/*
 * @speed in bytes per second, 0 for no limit.  Any thread; a delay already given is not taken
 * back.
 */
void rate_limit_set_speed(RateLimit *limit, uint64_t speed);

/*
 * Accounts @bytes and returns the nanoseconds to wait before the next piece.  The job's thread
 * only.
 */
int64_t rate_limit_delay_ns(RateLimit *limit, uint64_t bytes);

/* The same at a given time (CLOCK_MONOTONIC in ns). */
int64_t rate_limit_delay_at(RateLimit *limit, uint64_t bytes, int64_t now_ns);

#endif
