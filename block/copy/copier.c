/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The background copier; see copier.h. */
#include <inttypes.h>

#include "block/copy/copier-int.h"

typedef struct Work {
    Copier *copier;
    Chunk *chunk;
} Work;

static void fill_left(Copier *c)
{
    BlockCopy *copy = c->copy;
    uint64_t run, count;

    c->left = sparse_bitmap_new(units_covering(copy->size, c->unit));
    for (uint64_t at = 0; sparse_bitmap_next_run(copy->pending, at, UINT64_MAX, &run, &count);
         at = run + count) {
        uint64_t first = copy_block_offset(copy, run) / c->unit;
        uint64_t end = units_covering(copy_block_offset(copy, run + count), c->unit);

        sparse_bitmap_set(c->left, first, MIN(end, sparse_bitmap_size(c->left)) - first);
    }
}

/* What is wished for in whole units, at least one, and not above the user's limit. */
static int64_t chunk_size(const Copier *c, int64_t wish)
{
    int64_t most = c->o.max_chunk ? align_down(c->o.max_chunk, c->unit) : INT64_MAX;

    return MAX(c->unit, MIN(wish, most));
}

Copier *copier_new(const CopierOptions *options)
{
    Copier *c = g_new0(Copier, 1);

    c->o = *options;
    c->copy = options->copy;
    /* A compressed cluster is written whole, so that it is read whole. */
    c->unit = MAX(c->copy->block_size, MIN(c->copy->cluster_size,
                                           c->o.compress ? 2 * COPY_MAX_IO : COPY_MAX_IO));
    c->chunk_max = chunk_size(c, COPY_MAX_IO);
    c->chunk_usual = chunk_size(c, CHUNK_BYTES);
    c->chunk_host = chunk_size(c, HOST_CHUNK_BYTES);
    pace_init(&c->pace, &pace_of_copier, MAX(COPIER_BYTES, c->unit),
              options->least_speed ? options->least_speed : COPIER_LEAST_SPEED, loop_now_ns());
    c->wake_time = INT64_MAX;
    fill_left(c);
    c->copy->pace = &c->pace;
    c->copy->use_host = options->use_copy_range && !options->compress;
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
    c->copy->pace = NULL;
    for (Chunk *chunk; (chunk = g_queue_pop_head(&c->failed));) {
        chunk_free(chunk);
    }
    sparse_bitmap_free(c->left);
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

bool copier_staging_empty(const Copier *c)
{
    return !c->copy->staging || sparse_bitmap_count(staging_held(c->copy->staging)) == 0;
}

bool copier_done(const Copier *c)
{
    return !copier_in_flight(c) && g_queue_is_empty((GQueue *)&c->failed) && !c->copy->saves &&
           sparse_bitmap_count(c->left) == 0 && copier_staging_empty(c) &&
           !copy_spill_in_use(c->copy);
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
    return MIN(c->held ? c->wake_time : INT64_MAX, c->pace_wake);
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

/*
 * A failed discard loses nothing: the data was copied.  While somebody writes to the disk it is
 * left alone: a write since would be discarded with the old data (QEMU holds the range meanwhile).
 */
static void co_discard_source(const Copier *c, const Chunk *chunk)
{
    bool has_writer = c->copy->owner->perm & BLOCK_PERM_WRITE;

    if (c->o.discard_source && !has_writer && chunk->kind != CHUNK_LEAVE &&
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

/*
 * Once it is read the next one may be, while this one is written; and if that has to wait for a
 * time the user must know, who may otherwise sleep until the write ends.
 */
static int co_take(Copier *c, Chunk *chunk)
{
    int64_t began = loop_now_ns();
    int ret;

    if (chunk->kind != CHUNK_DATA) {
        return co_chunk_take(chunk);
    }
    pace_read_begin(&c->pace, chunk->bytes);
    ret = co_chunk_take(chunk);
    pace_read_end(&c->pace, loop_now_ns(), began, chunk->bytes);
    copier_pump(c);
    if (copier_wake_time(c) != INT64_MAX) {
        c->o.notify(c->o.opaque);
    }
    return ret;
}

static int co_copy(Copier *c, Chunk *chunk)
{
    int ret = co_take(c, chunk);

    if (ret == 0) {
        ret = co_chunk_write(chunk, c->o.compress ? BLOCK_COMPRESSED : 0);
    }
    if (chunk->kind == CHUNK_DATA) {
        c->copying_bytes -= chunk->bytes;
    }
    return ret;
}

static void co_work(void *opaque)
{
    Work *work = opaque;
    Copier *c = work->copier;
    Chunk *chunk = work->chunk;
    unsigned *counter = counter_of(c, chunk);
    int ret = co_copy(c, chunk);

    if (ret < 0) {
        note_error(c, chunk, ret);
    } else {
        co_discard_source(c, chunk);
        progress_advance(c->o.progress, chunk->moved);
        meter_add(&c->copy->moved, loop_now_ns(), chunk->moved);
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
    chunk->ends_with_copy = true; /* the job waits for what is in flight */
    ++*counter_of(c, chunk);
    c->copying_bytes += chunk->kind == CHUNK_DATA ? chunk->bytes : 0;
    co_start(co_work, work);
}

/* --- pumping --- */

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
        while ((chunk = copier_next_chunk(c))) {
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
