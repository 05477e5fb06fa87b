/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The classic pull: clients read the target itself, whose backing file may be the source.
 *
 * What is saved and not yet in the target stands in front of it, by a hook in the gate of its
 * node: each read and block status there sees the saved bytes.  A read takes them when it ends, in
 * one step, as a reader of the frozen view does.  Blocks that are pending then were not written
 * since the instant (I2), wherever the target got them from.  All others were in the target when
 * the read began, or are still in front of it: blocks go to the target by serialising writes, so
 * that none gets there in the middle of a read.
 */
#include <errno.h>

#include "block/copy/copy-int.h"
#include "block/hook.h"

struct CopyFront {
    BlockHook hook;
    BlockCopy *copy;
    int64_t began; /* the last read; of several at a time nobody asks when each did */
};

static CopyFront *front_of(BlockHook *hook)
{
    return (CopyFront *)hook; /* its first member */
}

/* The copy has failed: nobody saves any more, and what is read may be newer (I2). */
static bool is_broken(const BlockCopy *copy)
{
    return copy->error && copy->error != -ECANCELED;
}

/* What the target has not is read from the source: so its readers give way, too. */
static int co_before_request(BlockHook *hook, BlockReq *req)
{
    CopyFront *front = front_of(hook);

    if (req->type == BLOCK_REQ_READ) {
        front->began = co_copy_reader_begin(front->copy, req->bytes);
    }
    return 0;
}

/*
 * What is in the spill file is read in a second step: its blocks stay there or in memory until this
 * request ends, since they go to the target by serialising writes.
 */
static int co_overlay(BlockCopy *copy, int64_t offset, const IoSlice *data)
{
    uint64_t n = copy_end_block(copy, offset, data->len) - copy_first_block(copy, offset);
    g_autoptr(SparseBitmap) later = copy_spill_in_use(copy) ? sparse_bitmap_new(n) : NULL;
    int ret = copy_overlay(copy, offset, data, later);

    return ret < 0 || !later ? ret : co_copy_overlay_later(copy, offset, data, later);
}

static int co_after_request(BlockHook *hook, BlockReq *req, const IoSlice *data, int ret)
{
    BlockCopy *copy = front_of(hook)->copy;
    int64_t bytes = copy_clip(copy, req->offset, req->bytes);
    IoSlice part;

    if (req->type != BLOCK_REQ_READ) {
        return ret;
    }
    copy_reader_end(copy, front_of(hook)->began, req->bytes);
    if (ret < 0 || bytes == 0) {
        return ret;
    }
    if (is_broken(copy)) {
        return -EIO;
    }
    meter_add(&copy->moved, loop_now_ns(), bytes);
    part = io_slice_sub(data, 0, bytes);
    ret = co_overlay(copy, req->offset, &part);
    /* If it has failed meanwhile, what a chunk had taken from the file may be nowhere. */
    return ret == 0 && is_broken(copy) ? -EIO : ret;
}

static bool before_status(BlockHook *hook, int64_t offset, int64_t *bytes, BlockStatus *status,
                          bool *recheck)
{
    const BlockCopy *copy = front_of(hook)->copy;
    int64_t ours = copy_clip(copy, offset, *bytes);

    if (ours <= 0) {
        return false;
    }
    *bytes = ours;
    return copy_saved_status(copy, offset, bytes, status, recheck);
}

static bool after_status(BlockHook *hook, int64_t offset, BlockStatus *status)
{
    return copy_still_pending(front_of(hook)->copy, offset, status);
}

void block_copy_show_in_target(BlockCopy *copy)
{
    CopyFront *front = g_new0(CopyFront, 1);

    g_assert(block_copy_is_staged(copy) && !copy->front);
    front->hook = (BlockHook){
        .co_before = co_before_request,
        .co_after = co_after_request,
        .status_before = before_status,
        .status_after = after_status,
    };
    front->copy = copy;
    block_hook_add(copy->target->node, &front->hook);
    copy->target_flags |= BLOCK_SERIALISING;
    copy->front = front;
}

void block_copy_hide_in_target(BlockCopy *copy)
{
    CopyFront *front = copy->front;

    if (front) {
        block_hook_remove(copy->target->node, &front->hook);
        g_free(front);
        copy->front = NULL;
    }
}
