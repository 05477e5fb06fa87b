/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The leaver; see leaver.h. */
#include "block/copy/leaver.h"

#include <errno.h>

#include "block/control.h"
#include "block/copy/chunk.h"
#include "block/user.h"

/*
 * Chunks in flight.  While nobody needs room they are few: then neighbours come together, and the
 * guest has the disk, unless there is none any more.
 */
#define FEW_LEAVES 4
#define MAX_LEAVES 16

struct Leaver {
    BlockCopy *copy;
    BlockUser *user;   /* inside the owner: for drain */
    int64_t leave_from; /* where in staging the next chunk looks */
    int64_t unit;       /* of whole clusters; 0: blocks leave singly */
    SparseBitmap *busy; /* units in flight */
    unsigned leaving;
    bool drained, finishing;
    bool settling; /* zeroes are moved, too */
    int error;
    bool pumping, pump_again;
    CoQueue ended; /* a chunk did */
    BlockCopyNotifyFn *notify;
    void *notify_opaque;
};

typedef struct Leave {
    Leaver *leaver;
    Chunk *chunk;
} Leave;

static void pump(Leaver *l);

/* Nothing is left to be moved to the target, but for zeroes. */
static bool is_empty(const Leaver *l)
{
    return sparse_bitmap_count(staging_held(l->copy->staging)) == 0 &&
           !copy_spill_in_use(l->copy);
}

/* Is a guest write waiting for room?  Then the leaver must go on, drained or not. */
static bool is_wanted(const Leaver *l)
{
    return !l->copy->off && !l->error && staging_wanted(l->copy->staging);
}

/* Is room in staging needed, which only the target can give? */
static bool has_pressure(const Leaver *l)
{
    const Staging *s = l->copy->staging;

    return l->finishing ||
           (staging_used(s) > staging_capacity(s) / 4 && !copy_spill_has_room(l->copy));
}

static void fail(Leaver *l, int error)
{
    l->error = l->error ? l->error : error;
    block_copy_stop(l->copy, error);
}

static void tell(Leaver *l)
{
    block_user_drain_progress(l->user);
    if (l->notify) {
        l->notify(l->notify_opaque);
    }
}

/* --- one chunk --- */

/* Old bytes that nobody's room depends on are read as for a client: when the guest lets us. */
static int co_take(Leaver *l, Chunk *chunk)
{
    bool waits = !has_pressure(l) && chunk->kind == CHUNK_DATA;
    int64_t began = waits ? co_copy_reader_begin(l->copy, chunk->bytes) : 0;
    int ret = co_chunk_take(chunk);

    copy_reader_end(l->copy, began, chunk->bytes);
    return ret;
}

static void co_leave(void *opaque)
{
    Leave *leave = opaque;
    Leaver *l = leave->leaver;
    Chunk *chunk = leave->chunk;
    int ret = co_take(l, chunk);

    if (ret == 0) {
        ret = co_chunk_write(chunk, 0);
    }
    if (ret < 0) {
        fail(l, ret);
    } else {
        l->copy->saved_bytes += chunk->moved;
        copy_tell_target(l->copy);
    }
    if (chunk->kind == CHUNK_DATA) {
        sparse_bitmap_clear(l->busy, chunk->offset / l->unit, 1);
    }
    chunk_free(chunk);
    g_free(leave);
    l->leaving--;
    pump(l);
    co_queue_wake_all(&l->ended);
    tell(l);
}

static void start(Leaver *l, Chunk *chunk)
{
    Leave *leave = g_new(Leave, 1);

    *leave = (Leave){ l, chunk };
    l->leaving++;
    co_start(co_leave, leave);
}

static bool may_start(const Leaver *l)
{
    bool has_guest = l->copy->owner->parents->len > 0;
    unsigned max = has_pressure(l) || !has_guest ? MAX_LEAVES : FEW_LEAVES;

    return !l->error && l->leaving < max && (!l->copy->off || l->finishing) &&
           (!l->drained || is_wanted(l));
}

/* The first unit from @from on of which something is held there, and which is not in flight. */
static bool find_held(const Leaver *l, const SparseBitmap *held, int64_t from, uint64_t *unit)
{
    uint64_t at = copy_first_block(l->copy, from), block;

    while (sparse_bitmap_next_set(held, at, UINT64_MAX, &block)) {
        *unit = copy_block_offset(l->copy, block) / l->unit;
        if (!sparse_bitmap_get(l->busy, *unit)) {
            return true;
        }
        at = copy_first_block(l->copy, (*unit + 1) * l->unit);
    }
    return false;
}

/* Round and round the disk; first what is in memory. */
static bool find_unit(const Leaver *l, uint64_t *unit)
{
    const SparseBitmap *staged = staging_held(l->copy->staging);
    const SparseBitmap *spilled = l->copy->spill ? spill_held(l->copy->spill) : NULL;

    return find_held(l, staged, l->leave_from, unit) || find_held(l, staged, 0, unit) ||
           (spilled && (find_held(l, spilled, l->leave_from, unit) ||
                        find_held(l, spilled, 0, unit)));
}

/* As the background copier's: it takes what is pending then, and what was saved. */
static Chunk *next_unit(Leaver *l)
{
    uint64_t unit;
    int64_t offset, bytes;

    if (!find_unit(l, &unit)) {
        return NULL;
    }
    offset = unit * l->unit;
    bytes = MIN(l->unit, l->copy->size - offset);
    l->leave_from = offset + bytes;
    sparse_bitmap_set(l->busy, unit, 1);
    return chunk_new(l->copy, CHUNK_DATA, offset, bytes);
}

static Chunk *next_blocks(Leaver *l)
{
    Chunk *chunk = chunk_new_leave(l->copy, &l->leave_from);

    if (!chunk) {
        fail(l, -ENOMEM);
    }
    return chunk;
}

static Chunk *next_chunk(Leaver *l)
{
    Chunk *chunk = NULL;

    if (!may_start(l)) {
        return NULL;
    }
    if (!is_empty(l)) {
        chunk = l->unit ? next_unit(l) : next_blocks(l);
    } else if (l->settling && sparse_bitmap_count(l->copy->zeroes)) {
        chunk = chunk_new_leave_zeroes(l->copy);
    }
    return chunk;
}

/* What it starts may end before it yields, and pump in its turn: then the outer call goes on. */
static void pump(Leaver *l)
{
    Chunk *chunk;

    l->pump_again = true;
    if (l->pumping) {
        return;
    }
    l->pumping = true;
    while (l->pump_again) {
        l->pump_again = false;
        while ((chunk = next_chunk(l))) {
            start(l, chunk);
        }
    }
    l->pumping = false;
}

/* --- the copy's news, and drain --- */

static void on_copy_news(void *opaque)
{
    Leaver *l = opaque;
    int lost = block_copy_lost_error(l->copy);

    if (lost) {
        block_copy_stop(l->copy, lost);
    }
    pump(l);
    tell(l);
}

static void on_drained(void *opaque)
{
    ((Leaver *)opaque)->drained = true;
}

static bool on_drained_poll(void *opaque)
{
    Leaver *l = opaque;

    pump(l);
    return l->leaving || is_wanted(l);
}

static void on_drained_end(void *opaque)
{
    Leaver *l = opaque;

    l->drained = false;
    pump(l);
}

static char *describe(void *opaque)
{
    const Leaver *l = opaque;

    return g_strdup_printf("node '%s'", l->copy->owner->name);
}

static const BlockUserOps user_ops = {
    .drain_order = 1,
    .drained_begin = on_drained,
    .drained_poll = on_drained_poll,
    .drained_end = on_drained_end,
    .describe = describe,
};

/* --- life --- */

Leaver *leaver_new(BlockCopy *copy, BlockNode *owner, bool whole_clusters)
{
    Leaver *l = g_new0(Leaver, 1);

    l->copy = copy;
    if (whole_clusters) {
        l->unit = MAX(copy->block_size, MIN(copy->cluster_size, COPY_MAX_IO));
        l->busy = sparse_bitmap_new(units_covering(copy->size, l->unit));
    }
    l->user = block_user_new_inside(&user_ops, l, owner);
    copy_pace_readers(copy);
    block_copy_set_notify(copy, on_copy_news, l);
    return l;
}

void leaver_set_notify(Leaver *l, BlockCopyNotifyFn *fn, void *opaque)
{
    l->notify = fn;
    l->notify_opaque = opaque;
}

/* The copy is off: what is pending need not be old any more, and shall not be moved. */
void leaver_finish(Leaver *l)
{
    l->finishing = l->settling = true;
    l->copy->left_out +=
        sparse_bitmap_clear(l->copy->pending, 0, sparse_bitmap_size(l->copy->pending));
    pump(l);
}

static bool is_over(const Leaver *l, bool failed)
{
    return !l->leaving && !l->copy->saves &&
           (failed || (is_empty(l) && !sparse_bitmap_count(l->copy->zeroes)));
}

bool leaver_done(const Leaver *l)
{
    return is_over(l, l->error);
}

bool leaver_settle(Leaver *l)
{
    l->settling = true;
    pump(l);
    return is_over(l, l->copy->off);
}

int leaver_error(const Leaver *l)
{
    return l->error;
}

void co_leaver_free(Leaver *l)
{
    if (!l) {
        return;
    }
    leaver_set_notify(l, NULL, NULL);
    l->drained = false; /* if there is a drained section, it is the caller's */
    l->error = block_copy_error(l->copy);
    leaver_finish(l);
    while (!leaver_done(l)) {
        co_queue_wait(&l->ended);
    }
    block_copy_set_notify(l->copy, NULL, NULL);
    co_move(control_loop());
    co_block_user_free(l->user);
    sparse_bitmap_free(l->busy);
    g_free(l);
}
