/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How far a job has come, as query-jobs shows it (current-progress and total-progress; any unit).
 * One thread advances it, any thread may read it.  Zero-initialise.
 */
#ifndef UTIL_PROGRESS_H
#define UTIL_PROGRESS_H

#include <stdatomic.h>
#include <stdint.h>

typedef struct Progress {
    _Atomic int64_t current; /* done so far */
    _Atomic int64_t total;   /* an estimate: what is done and what is known to remain */
} Progress;

static inline int64_t progress_current(const Progress *progress)
{
    return atomic_load(&progress->current);
}

static inline int64_t progress_total(const Progress *progress)
{
    return atomic_load(&progress->total);
}

/* @done more was done. */
static inline void progress_advance(Progress *progress, int64_t done)
{
    atomic_fetch_add(&progress->current, done);
}

/* @remaining is left to do now. */
static inline void progress_set_remaining(Progress *progress, int64_t remaining)
{
    atomic_store(&progress->total, atomic_load(&progress->current) + remaining);
}

/* What is left to do grew by @more (shrank, if negative). */
static inline void progress_add_remaining(Progress *progress, int64_t more)
{
    atomic_fetch_add(&progress->total, more);
}

#endif
