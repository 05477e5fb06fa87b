/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the copier does next: by what block status knows, how full staging is, and the rate limit.
 */
#include <errno.h>

#include "block/copy/copier-int.h"

/* Chunks that empty staging at the same time. */
#define MAX_LEAVES 16
/* What one question for block status covers. */
#define STATUS_BYTES ((int64_t)1 << 30)
/* One chunk of zeroes; with a rate limit COPY_MAX_IO. */
#define ZERO_BYTES ((int64_t)1 << 40)

/* --- block status --- */

static void leave_out(Copier *c, int64_t offset, int64_t bytes)
{
    BlockCopy *copy = c->copy;
    uint64_t first = copy_first_block(copy, offset);
    uint64_t count = copy_end_block(copy, offset, bytes) - first;

    copy->left_out += sparse_bitmap_clear(copy->pending, first, count);
    sparse_bitmap_clear(c->left, offset / c->unit, units_covering(bytes, c->unit));
    progress_add_remaining(c->o.progress, -bytes);
}

/*
 * What is said counts for all blocks that are still pending now (they were not written since the
 * instant), and as long as they are.  Units that are only partly zero are data.
 */
static void learn(Copier *c, int64_t offset, const BlockStatus *status)
{
    int64_t end = offset + status->bytes;
    int64_t whole = end >= c->copy->size ? c->copy->size : align_down(end, c->unit);
    bool nothing = c->o.only_allocated && !(status->flags & BLOCK_STATUS_ALLOCATED);

    c->known_zero = (status->flags & BLOCK_STATUS_ZERO) && whole > offset;
    if (nothing && whole > offset) {
        leave_out(c, offset, whole - offset);
        c->known_until = offset;
    } else {
        c->known_until = c->known_zero ? whole : MIN(c->copy->size, align_up(end, c->unit));
    }
}

/* The next run of units to copy; false if there is none. */
static bool next_run(const Copier *c, int64_t *offset, int64_t *bytes)
{
    uint64_t run, count;

    if (!sparse_bitmap_next_run(c->left, 0, UINT64_MAX, &run, &count)) {
        return false;
    }
    *offset = run * c->unit;
    *bytes = MIN(c->copy->size, (int64_t)(run + count) * c->unit) - *offset;
    return true;
}

static void co_ask(void *opaque)
{
    Copier *c = opaque;
    BlockStatus status;
    BlockChild *source = c->copy->source;
    /* sync=top asks for what the top layer itself has. */
    const BlockNode *base = c->o.only_allocated ? block_node_backing(source->node) : NULL;
    int64_t offset, bytes;

    if (next_run(c, &offset, &bytes)) {
        bytes = MIN(bytes, STATUS_BYTES);
        if (co_block_status_above(source, base, true, offset, bytes, &status) < 0 ||
            status.bytes <= 0) {
            /* Not knowing is no error: the read will tell. */
            status = (BlockStatus){ .flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED,
                                    .bytes = MIN(bytes, c->unit) };
        }
        learn(c, offset, &status);
    }
    c->asking = false;
    copier_pump(c);
    c->o.notify(c->o.opaque);
}

/* --- what to do next --- */

static Chunk *next_failed(Copier *c)
{
    Chunk *chunk = g_queue_peek_head(&c->failed);

    return chunk && (!c->paused || chunk->kind == CHUNK_LEAVE) ? g_queue_pop_head(&c->failed)
                                                              : NULL;
}

static bool nothing_else(const Copier *c)
{
    return sparse_bitmap_count(c->left) == 0 && !c->paused;
}

/* Single blocks would be a burden to some targets: from those they go to the spill file. */
static bool should_leave(const Copier *c)
{
    const Staging *s = c->copy->staging;

    return nothing_else(c) || (staging_used(s) > staging_capacity(s) / 4 &&
                               (c->copy->takes_single_blocks || !copy_spill_has_room(c->copy)));
}

/* Above the low mark, or when all else is copied: blocks leave staging singly. */
static Chunk *next_leave(Copier *c)
{
    uint64_t block;
    Chunk *chunk;

    if (copier_staging_empty(c) || c->leaving >= MAX_LEAVES || !should_leave(c) ||
        !copy_next_leaving(c->copy, 0, &block)) {
        return NULL;
    }
    chunk = chunk_new_leave(c->copy, &c->leave_from);
    if (!chunk) {
        c->error = -ENOMEM;
    }
    return chunk;
}

static bool is_pressed(const Copier *c)
{
    const Staging *s = c->copy->staging;

    return s && staging_used(s) > staging_capacity(s) / 4 * 3;
}

/* What was spilled from where nothing else is left to copy. */
static Chunk *next_spilled(const Copier *c)
{
    const BlockCopy *copy = c->copy;
    uint64_t block;
    int64_t offset;

    if (!copy->spill || !nothing_else(c) || c->copying ||
        !sparse_bitmap_next_set(spill_held(copy->spill), 0, UINT64_MAX, &block)) {
        return NULL;
    }
    offset = align_down(copy_block_offset(copy, block), c->unit);
    return chunk_new(c->copy, CHUNK_DATA, offset, MIN(c->unit, copy->size - offset));
}

/* Above the high mark the copier leaves the target to staging. */
static bool must_hold_back(const Copier *c)
{
    return is_pressed(c) && !copier_staging_empty(c) && c->copying > 0;
}

/* False: wait until wake_time. */
static bool limit_allows(Copier *c, int64_t bytes)
{
    int64_t now, delay;

    if (!atomic_load(&c->o.limit->speed)) {
        return true;
    }
    now = loop_now_ns();
    if (c->wake_time != INT64_MAX && now < c->wake_time) {
        c->held = true;
        return false;
    }
    delay = rate_limit_delay_ns(c->o.limit, bytes);
    c->wake_time = delay > 0 ? now + delay : INT64_MAX;
    return true;
}

static bool has_worker(const Copier *c)
{
    return c->copying + c->zeroing < c->o.max_workers &&
           (!c->copying || c->copying_bytes + c->unit <= COPIER_BYTES);
}

/* Staging above its high mark needs the copier more than the guest needs it to be slow. */
static bool pace_allows(Copier *c)
{
    return pace_may_read(&c->pace, loop_now_ns(), c->unit, &c->pace_wake) || is_pressed(c);
}

/* Bytes of a chunk that is not limited by the job's speed. */
static int64_t usual_chunk(const Copier *c, int64_t offset, int64_t bytes)
{
    int64_t left = MAX(c->unit, align_down(COPIER_BYTES - c->copying_bytes, c->unit));
    bool by_host = copy_host_may(c->copy, offset, MIN(bytes, c->chunk_host));

    return MIN(left, pace_read_size(&c->pace, c->unit, by_host ? c->chunk_host : c->chunk_usual));
}

static Chunk *next_copy(Copier *c)
{
    int64_t offset, bytes;
    bool limited = atomic_load(&c->o.limit->speed) != 0;

    if (c->asking || !has_worker(c) || must_hold_back(c) || !next_run(c, &offset, &bytes)) {
        return NULL;
    }
    if (offset >= c->known_until) {
        c->asking = true;
        co_start(co_ask, c);
        return NULL;
    }
    bytes = MIN(bytes, c->known_until - offset);
    bytes = MIN(bytes, limited         ? c->chunk_max
                       : c->known_zero ? ZERO_BYTES
                                       : usual_chunk(c, offset, bytes));
    if ((!c->known_zero && !pace_allows(c)) || !limit_allows(c, bytes)) {
        return NULL;
    }
    sparse_bitmap_clear(c->left, offset / c->unit, units_covering(bytes, c->unit));
    return chunk_new(c->copy, c->known_zero ? CHUNK_ZERO : CHUNK_DATA, offset, bytes);
}

Chunk *copier_next_chunk(Copier *c)
{
    Chunk *chunk = NULL;

    c->held = false;
    c->pace_wake = INT64_MAX;
    if (c->error || c->copy->off || (c->drained && !copier_wanted(c))) {
        return NULL;
    }
    if ((chunk = next_failed(c)) || (chunk = next_leave(c)) || (chunk = next_spilled(c))) {
        return chunk;
    }
    return c->paused || c->drained ? NULL : next_copy(c);
}
