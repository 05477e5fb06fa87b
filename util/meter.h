/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How many bytes a second of late.  One thread counts, any thread may ask; the clock is the
 * caller's, in ns.  Zero-initialise.
 */
#ifndef UTIL_METER_H
#define UTIL_METER_H

#include <stdatomic.h>
#include <stdint.h>

#define METER_SLOT_NS INT64_C(1000000000)

typedef struct Meter {
    _Atomic int64_t start; /* of the second that is being counted; 0: nothing was counted yet */
    _Atomic int64_t bytes; /* since then */
    _Atomic int64_t rate;  /* in the one before */
} Meter;

static inline void meter_add(Meter *m, int64_t now, int64_t bytes)
{
    int64_t start = atomic_load(&m->start), took = now - start;

    atomic_fetch_add(&m->bytes, bytes);
    if (start == 0) {
        atomic_store(&m->start, now);
    } else if (took >= METER_SLOT_NS) {
        atomic_store(&m->rate, (int64_t)((double)atomic_exchange(&m->bytes, 0) * 1e9 / took));
        atomic_store(&m->start, now);
    }
}

/* In the first second there is no rate yet; when nothing was counted for long it sinks. */
static inline int64_t meter_rate(const Meter *m, int64_t now)
{
    int64_t took = now - atomic_load(&m->start);

    if (took <= 2 * METER_SLOT_NS) {
        return atomic_load(&m->rate);
    }
    return (int64_t)((double)atomic_load(&m->bytes) * 1e9 / took);
}

#endif
