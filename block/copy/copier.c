/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The background copier; see copier.h. */
#include "block/copy/copier.h"

#include <errno.h>
#include <inttypes.h>

#include "block/copy/chunk.h"

/*
 * Buffers of chunks in flight together, and one of them: more than this only costs cache.  With a
 * rate limit a chunk is COPY_MAX_IO, as QEMU's.
 */
#define COPIER_BYTES ((int64_t)8 << 20)
#define CHUNK_BYTES ((int64_t)512 << 10)
/* Chunks that empty staging at the same time. */
#define MAX_LEAVES 16
/* What one question for block status covers. */
#define STATUS_BYTES ((int64_t)1 << 30)
/* One chunk of zeroes; with a rate limit COPY_MAX_IO. */
#define ZERO_BYTES ((int64_t)1 << 40)

struct Copier {
    CopierOptions o;
    BlockCopy *copy;
    int64_t unit; /* what todo's bits stand for */
    SparseBitmap *todo;
    int64_t chunk_max;
    unsigned workers;

    /* What block status said last, from the next unit that is to be copied on. */
    int64_t known_until;
    bool known_zero;
    bool asking;

    int64_t leave_from; /* where in staging the next leave chunk looks */
    unsigned copying, leaving, zeroing;
    GQueue failed; /* of Chunk: what is to be tried again */
    bool paused, drained;
    int error;
    bool error_is_read;
    int64_t wake_time; /* the rate limit's */
    bool pumping, pump_again;
};

typedef struct Work {
    Copier *copier;
    Chunk *chunk;
} Work;

static void fill_todo(Copier *c)
{
    BlockCopy *copy = c->copy;
    uint64_t run, count;

    c->todo = sparse_bitmap_new(units_covering(copy->size, c->unit));
    for (uint64_t at = 0; sparse_bitmap_next_run(copy->pending, at, UINT64_MAX, &run, &count);
         at = run + count) {
        uint64_t first = copy_block_offset(copy, run) / c->unit;
        uint64_t end = units_covering(copy_block_offset(copy, run + count), c->unit);

        sparse_bitmap_set(c->todo, first, MIN(end, sparse_bitmap_size(c->todo)) - first);
    }
}

Copier *copier_new(const CopierOptions *options)
{
    Copier *c = g_new0(Copier, 1);

    c->o = *options;
    c->copy = options->copy;
    c->unit = MAX(c->copy->block_size, MIN(c->copy->cluster_size, COPY_MAX_IO));
    c->chunk_max = MAX(c->unit, COPY_MAX_IO);
    if (options->max_chunk) {
        c->chunk_max = MAX(c->unit, MIN(c->chunk_max, align_down(options->max_chunk, c->unit)));
    }
    c->workers = MAX(1, MIN(options->max_workers, COPIER_BYTES / MAX(c->unit, CHUNK_BYTES)));
    c->wake_time = INT64_MAX;
    fill_todo(c);
    block_copy_set_notify(c->copy, options->notify, options->opaque);
    return c;
}

void copier_free(Copier *c)
{
    if (!c) {
        return;
    }
    g_assert(copier_in_flight(c) == 0);
    block_copy_set_notify(c->copy, NULL, NULL);
    for (Chunk *chunk; (chunk = g_queue_pop_head(&c->failed));) {
        chunk_free(chunk);
    }
    sparse_bitmap_free(c->todo);
    g_free(c);
}

unsigned copier_in_flight(const Copier *c)
{
    return c->copying + c->leaving + c->zeroing + c->asking;
}

unsigned copier_copying(const Copier *c)
{
    return c->copying + c->zeroing + c->asking;
}

static bool staging_empty(const Copier *c)
{
    return !c->copy->staging || sparse_bitmap_count(staging_held(c->copy->staging)) == 0;
}

bool copier_done(const Copier *c)
{
    return !copier_in_flight(c) && g_queue_is_empty((GQueue *)&c->failed) && !c->copy->saves &&
           sparse_bitmap_count(c->todo) == 0 && staging_empty(c);
}

bool copier_wanted(const Copier *c)
{
    return c->copy->staging && !c->copy->off && !c->error && staging_wanted(c->copy->staging);
}

void copier_set_paused(Copier *c, bool paused)
{
    c->paused = paused;
}

void copier_set_drained(Copier *c, bool drained)
{
    c->drained = drained;
}

int copier_error(const Copier *c, bool *is_read)
{
    *is_read = c->error_is_read;
    return c->error;
}

void copier_retry(Copier *c)
{
    c->error = 0;
}

int64_t copier_wake_time(const Copier *c)
{
    return c->wake_time;
}

void copier_limit_changed(Copier *c)
{
    int64_t delay = rate_limit_delay_ns(c->o.limit, 0);

    c->wake_time = delay > 0 ? loop_now_ns() + delay : INT64_MAX;
}

/* --- one chunk --- */

static unsigned *counter_of(Copier *c, const Chunk *chunk)
{
    switch (chunk->kind) {
    case CHUNK_LEAVE:
        return &c->leaving;
    case CHUNK_ZERO:
        return &c->zeroing;
    default:
        return &c->copying;
    }
}

/* A failed discard loses nothing: the data was copied. */
static void co_discard_source(const Copier *c, const Chunk *chunk)
{
    if (c->o.discard_source && chunk->kind != CHUNK_LEAVE &&
        co_block_discard(c->copy->source, chunk->offset, chunk->bytes) < 0) {
        g_debug("discard of the copied source at %" PRId64 " failed", chunk->offset);
    }
}

static void note_error(Copier *c, Chunk *chunk, int ret)
{
    if (!c->error) {
        c->error = ret;
        c->error_is_read = chunk->is_read;
    }
    g_queue_push_tail(&c->failed, chunk);
}

static void co_work(void *opaque)
{
    Work *work = opaque;
    Copier *c = work->copier;
    Chunk *chunk = work->chunk;
    unsigned *counter = counter_of(c, chunk);
    int ret = co_chunk_run(chunk, c->o.compress ? BLOCK_COMPRESSED : 0);

    if (ret < 0) {
        note_error(c, chunk, ret);
    } else {
        co_discard_source(c, chunk);
        progress_advance(c->o.progress, chunk->moved);
        chunk_free(chunk);
    }
    g_free(work);
    --*counter;
    copier_pump(c);
    c->o.notify(c->o.opaque);
}

static void start(Copier *c, Chunk *chunk)
{
    Work *work = g_new(Work, 1);

    *work = (Work){ c, chunk };
    ++*counter_of(c, chunk);
    co_start(co_work, work);
}

/* --- block status --- */

static void leave_out(Copier *c, int64_t offset, int64_t bytes)
{
    BlockCopy *copy = c->copy;
    uint64_t first = copy_first_block(copy, offset);
    uint64_t count = copy_end_block(copy, offset, bytes) - first;

    sparse_bitmap_clear(copy->pending, first, count);
    sparse_bitmap_clear(c->todo, offset / c->unit, units_covering(bytes, c->unit));
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

    if (!sparse_bitmap_next_run(c->todo, 0, UINT64_MAX, &run, &count)) {
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
    int64_t offset, bytes;

    if (next_run(c, &offset, &bytes)) {
        bytes = MIN(bytes, STATUS_BYTES);
        if (co_block_status(c->copy->source, true, offset, bytes, &status) < 0 ||
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
    return sparse_bitmap_count(c->todo) == 0 && !c->paused;
}

/* Above the low mark, or when all else is copied: blocks leave staging singly. */
static Chunk *next_leave(Copier *c)
{
    const Staging *s = c->copy->staging;
    Chunk *chunk;

    if (staging_empty(c) || c->leaving >= MAX_LEAVES ||
        (staging_used(s) <= staging_capacity(s) / 4 && !nothing_else(c))) {
        return NULL;
    }
    chunk = chunk_new_leave(c->copy, &c->leave_from);
    if (!chunk) {
        c->error = -ENOMEM;
    }
    return chunk;
}

/* Above the high mark the copier leaves the target to staging. */
static bool must_hold_back(const Copier *c)
{
    const Staging *s = c->copy->staging;

    return s && staging_used(s) > staging_capacity(s) / 4 * 3 && !staging_empty(c) &&
           c->copying > 0;
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
        return false;
    }
    delay = rate_limit_delay_ns(c->o.limit, bytes);
    c->wake_time = delay > 0 ? now + delay : INT64_MAX;
    return true;
}

/* The size of a chunk without a rate limit. */
static int64_t free_chunk(const Copier *c)
{
    return MIN(c->chunk_max, MAX(c->unit, CHUNK_BYTES));
}

static Chunk *next_copy(Copier *c)
{
    int64_t offset, bytes;
    bool limited = atomic_load(&c->o.limit->speed) != 0;

    if (c->asking || c->copying + c->zeroing >= c->workers || must_hold_back(c) ||
        !next_run(c, &offset, &bytes)) {
        return NULL;
    }
    if (offset >= c->known_until) {
        c->asking = true;
        co_start(co_ask, c);
        return NULL;
    }
    bytes = MIN(bytes, c->known_until - offset);
    bytes = MIN(bytes, limited ? c->chunk_max : c->known_zero ? ZERO_BYTES : free_chunk(c));
    if (!limit_allows(c, bytes)) {
        return NULL;
    }
    sparse_bitmap_clear(c->todo, offset / c->unit, units_covering(bytes, c->unit));
    return chunk_new(c->copy, c->known_zero ? CHUNK_ZERO : CHUNK_DATA, offset, bytes);
}

static Chunk *next_chunk(Copier *c)
{
    Chunk *chunk = NULL;

    if (c->error || c->copy->off || (c->drained && !copier_wanted(c))) {
        return NULL;
    }
    if ((chunk = next_failed(c)) || (chunk = next_leave(c))) {
        return chunk;
    }
    return c->paused || c->drained ? NULL : next_copy(c);
}

/* What it starts may end before it yields, and pump in its turn: then the outer call goes on. */
void copier_pump(Copier *c)
{
    Chunk *chunk;

    c->pump_again = true;
    if (c->pumping) {
        return;
    }
    c->pumping = true;
    while (c->pump_again) {
        c->pump_again = false;
        while ((chunk = next_chunk(c))) {
            start(c, chunk);
        }
    }
    c->pumping = false;
}

void copier_mark_rest(const Copier *c, DirtyBitmap *bitmap)
{
    for (GList *l = c->failed.head; l; l = l->next) {
        chunk_mark_rest(l->data, bitmap);
    }
}
