/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moves saved blocks from staging to the spill file, in large writes, when staging fills faster
 * than the target takes them (I4: a guest write waits for no target).
 *
 * A block stays in staging until it is in the file; if somebody takes it meanwhile (a chunk, a
 * discard), what was written is given back.  One coroutine at a time, begun by whoever needs room,
 * fills staging, or gives slots of the file back: those who wait may not be followed by anybody.
 * The owner node counts as in use meanwhile, so that drain waits.
 */
#include <errno.h>

#include "block/copy/copy-int.h"
#include "block/gate.h"

typedef struct Batch {
    unsigned count;
    uint64_t *blocks;
    struct iovec *iov; /* their pages in staging */
} Batch;

/*
 * Where staging is to be emptied from, and down to: a target that takes single blocks has the
 * lower half for itself.
 */
static size_t mark_of(const BlockCopy *copy)
{
    size_t capacity = staging_capacity(copy->staging);

    return copy->takes_single_blocks ? capacity / 2 : capacity / 4;
}

static size_t wanted_of(const BlockCopy *copy)
{
    return mark_of(copy) / 4 * 3;
}

bool copy_spill_has_room(const BlockCopy *copy)
{
    return copy->spill && !copy->spill_error && spill_room(copy->spill) > 0;
}

bool copy_spill_in_use(const BlockCopy *copy)
{
    return copy->spill && (copy->spilling || sparse_bitmap_count(spill_held(copy->spill)) > 0);
}

static bool can_spill(const BlockCopy *copy)
{
    return !copy->off && copy_spill_has_room(copy) &&
           sparse_bitmap_count(staging_held(copy->staging)) > 0;
}

static void fill_batch(BlockCopy *copy, Batch *batch)
{
    const SparseBitmap *held = staging_held(copy->staging);
    unsigned room = spill_room(copy->spill);
    uint64_t block = 0;

    batch->blocks = g_new(uint64_t, room);
    batch->iov = g_new(struct iovec, room);
    while (batch->count < room) {
        if (!sparse_bitmap_next_set(held, copy->spill_from, UINT64_MAX, &block)) {
            copy->spill_from = 0;
            break;
        }
        copy->spill_from = block + 1;
        batch->blocks[batch->count] = block;
        batch->iov[batch->count++] = (struct iovec){ (void *)staging_look(copy->staging, block),
                                                     copy->block_size };
    }
}

static void clear_batch(Batch *batch)
{
    g_free(batch->blocks);
    g_free(batch->iov);
}

/* In one step: from here on they are in the file. */
static void settle_batch(BlockCopy *copy, const Batch *batch, int64_t slot)
{
    for (unsigned i = 0; i < batch->count; i++, slot++) {
        uint64_t block = batch->blocks[i];

        if (staging_look(copy->staging, block) == batch->iov[i].iov_base) {
            staging_page_free(copy->staging, staging_take(copy->staging, block));
            spill_hold(copy->spill, block, slot);
        } else {
            spill_give_back(copy->spill, slot);
        }
    }
}

/* Past the last block it begins anew: an empty batch is none. */
static int64_t co_spill_batch(BlockCopy *copy)
{
    Batch batch = { 0 };
    IoSlice data;
    int64_t slot = 0;

    fill_batch(copy, &batch);
    if (batch.count) {
        data = io_slice(batch.iov, batch.count);
        slot = co_spill_write(copy->spill, &data);
        if (slot >= 0) {
            settle_batch(copy, &batch, slot);
        }
    }
    clear_batch(&batch);
    return MIN(slot, 0);
}

/*
 * A file that is full has shown that the target will not keep up: nobody waits long for room.
 * Where it could not be made or written nothing is known of the target: it sets the guest's pace.
 */
static void set_hurry(BlockCopy *copy)
{
    staging_set_hurry(copy->staging, !copy->spill_error && spill_room(copy->spill) == 0);
}

static void co_spill(void *opaque)
{
    BlockCopy *copy = opaque;

    gate_enter(copy->owner);
    while (can_spill(copy) && staging_used(copy->staging) > wanted_of(copy)) {
        int64_t ret = co_spill_batch(copy);

        if (ret < 0) {
            copy->spill_error = ret;
        }
        copy_tell_spill(copy);
    }
    copy->spilling = false;
    set_hurry(copy);
    copy_notify(copy);
    gate_leave(copy->owner);
}

void copy_spill_pump(BlockCopy *copy)
{
    if (copy->spilling || !can_spill(copy) || staging_used(copy->staging) <= mark_of(copy)) {
        return;
    }
    copy->spilling = true;
    set_hurry(copy); /* there is room again */
    co_start(co_spill, copy);
}
