/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The classic pull: clients read the target itself, whose backing file may be the source.
 *
 * What is saved and not yet in the target stands in front of it, by a hook in the gate of its
 * node: each read and block status there sees the saved bytes.  A read takes them when it ends, in
 * one step, as a reader of the frozen view does; blocks that are pending then were not written
 * since the instant (I2), wherever the target got them from, because a guest's write waits for the
 * reads that were under way on its blocks when they were saved.  And because the way of blocks to
 * the target is serialising, none gets there in the middle of a read.
 */
#include <errno.h>

#include "block/copy/copy-int.h"
#include "block/hook.h"

struct CopyFront {
    BlockHook hook;
    BlockCopy *copy;
    GPtrArray *reads; /* of BlockReq: under way on the target */
    CoQueue read_ended;
};

static CopyFront *front_of(BlockHook *hook)
{
    return (CopyFront *)hook; /* its first member */
}

static int before_request(BlockHook *hook, BlockReq *req)
{
    if (req->type == BLOCK_REQ_READ) {
        g_ptr_array_add(front_of(hook)->reads, req);
    }
    return 0;
}

/* The copy has failed: nobody saves any more, and what is read may be newer (I2). */
static bool is_broken(const BlockCopy *copy)
{
    return copy->error && copy->error != -ECANCELED;
}

static int after_request(BlockHook *hook, BlockReq *req, const IoSlice *data, int ret)
{
    CopyFront *front = front_of(hook);
    int64_t bytes = copy_clip(front->copy, req->offset, req->bytes);

    if (req->type != BLOCK_REQ_READ) {
        return ret;
    }
    if (ret == 0 && bytes > 0) {
        IoSlice part = io_slice_sub(data, 0, bytes);

        ret = is_broken(front->copy) ? -EIO
                                     : copy_overlay(front->copy, req->offset, &part, NULL);
    }
    g_ptr_array_remove_fast(front->reads, req);
    co_queue_wake_all(&front->read_ended);
    return ret;
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
        .co_before = before_request,
        .co_after = after_request,
        .status_before = before_status,
        .status_after = after_status,
    };
    front->copy = copy;
    front->reads = g_ptr_array_new();
    block_hook_add(copy->target->node, &front->hook);
    copy->target_flags |= BLOCK_SERIALISING;
    copy->front = front;
}

void block_copy_hide_in_target(BlockCopy *copy)
{
    CopyFront *front = copy->front;

    if (front) {
        g_assert(front->reads->len == 0);
        block_hook_remove(copy->target->node, &front->hook);
        g_ptr_array_free(front->reads, true);
        g_free(front);
        copy->front = NULL;
    }
}

void copy_front_stopped(CopyFront *front)
{
    co_queue_wake_all(&front->read_ended);
}

/* Later reads end after the save, and see it. */
static bool is_read_since(const CopyFront *front, uint64_t before, int64_t offset, int64_t bytes)
{
    for (unsigned i = 0; i < front->reads->len; i++) {
        const BlockReq *req = front->reads->pdata[i];

        if (req->sequence < before && range_overlaps(req->offset, req->bytes, offset, bytes)) {
            return true;
        }
    }
    return false;
}

void co_block_copy_wait_readers(BlockCopy *copy, int64_t offset, int64_t bytes)
{
    CopyFront *front = copy->front;
    uint64_t now;

    if (G_LIKELY(!front)) {
        return;
    }
    now = copy->target->node->requests.next_sequence;
    while (!copy->off && is_read_since(front, now, offset, bytes)) {
        co_queue_wait(&front->read_ended);
    }
}
