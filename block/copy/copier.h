/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The background copier: moves all that belongs to a copy to the target.
 *
 * It works in chunks, many in flight, each in a coroutine of its own.  A data chunk reads whole
 * clusters from the source and takes them when the read ends (see block-copy.h); a zero chunk
 * covers what block status knows to be zero; a leave chunk writes single blocks out of staging when
 * that is above its low mark or nothing else is left.  What a chunk has taken it keeps until it is
 * written, over errors too.
 *
 * The copier starts chunks in copier_pump() and never waits itself: its user (a job's coroutine) is
 * notified when something ended, and decides about errors.  On the loop of the graph.
 */
#ifndef BLOCK_COPY_COPIER_H
#define BLOCK_COPY_COPIER_H

#include "block/copy/block-copy.h"
#include "util/progress.h"
#include "util/rate-limit.h"

typedef struct Copier Copier;

typedef struct CopierOptions {
    BlockCopy *copy;
    unsigned max_workers; /* chunks in flight, at least 1 */
    int64_t max_chunk;    /* bytes; 0: no limit but the copier's own */
    int64_t least_speed;  /* bytes a second, however busy the guest is; 0: the copier's own */
    bool compress;
    bool use_copy_range;   /* the host copies where it can (not with compress) */
    bool discard_source;   /* what was copied is discarded in the source */
    bool only_allocated;   /* sync=top: leave out what the source's top layer does not have */
    RateLimit *limit;      /* the job's */
    Progress *progress;    /* the job's; the total is the caller's */
    void (*notify)(void *opaque); /* a chunk ended or a save changed something */
    void *opaque;
} CopierOptions;

/* Takes what is selected in the copy now as its work. */
Copier *copier_new(const CopierOptions *options);
void copier_free(Copier *c); /* nothing in flight; NULL is accepted */

/* Starts what can be started. */
void copier_pump(Copier *c);

/*
 * When the rate limit or the guest (pace.h) lets the next chunk begin (loop_now_ns()'s clock);
 * INT64_MAX: they do not hold one back.
 */
int64_t copier_wake_time(const Copier *c);
/* The limit was changed: reckon the wait again. */
void copier_limit_changed(Copier *c);

/* All is in the target (not yet flushed), and nothing in flight. */
bool copier_done(const Copier *c);

/* Chunks in flight; all, or those that read the source. */
unsigned copier_in_flight(const Copier *c);
unsigned copier_copying(const Copier *c);

/* Is a guest write waiting for the copier to make room?  (Then it must go on, drained or not.) */
bool copier_wanted(const Copier *c);

/*
 * Paused by the user or an error: only makes room.  Drained: starts nothing, but for a guest that
 * waits for room.
 */
void copier_set_paused(Copier *c, bool paused);
void copier_set_drained(Copier *c, bool drained);

/*
 * The first error since copier_retry(): -errno, or 0.  While there is one nothing is started; those
 * in flight end, and what failed is kept.
 */
int copier_error(const Copier *c, bool *is_read);
void copier_retry(Copier *c);

/*
 * Makes dirty in @bitmap what failed and is not in the target; the rest is in
 * block_copy_mark_rest().
 */
void copier_mark_rest(const Copier *c, DirtyBitmap *bitmap);

#endif
