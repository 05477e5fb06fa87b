/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Part of the gate: copies by the host, from one node to another.
 *
 * The source's drivers pass the request down to where the bytes are, then the target's do; it is
 * tracked in all of them, as a read and as a write.  Who must see the data is not passed: a filter
 * that does not know of this, hooks, the search for zeroes.
 */
#include <errno.h>

#include "block/gate.h"

static bool can_pass(const BlockNode *node, int64_t offset, int64_t bytes)
{
    return node->hooks->len == 0 && gate_fits_alignment(node, offset, bytes);
}

/* I1 as in node-io.c: marked before, and again after it. */
static int co_change(BlockReq *req, BlockNode *source, int64_t source_offset)
{
    BlockNode *node = req->node;
    int ret;

    gate_mark_bitmaps(req);
    if (G_UNLIKELY(node->write_threshold)) {
        gate_check_write_threshold(req);
    }
    ret = node->driver->co_copy_range_to(node, req->offset, source, source_offset, req->bytes);
    gate_mark_bitmaps(req);
    node->write_gen++;
    return ret;
}

int co_block_copy_range_to(BlockNode *source, int64_t source_offset, BlockChild *target,
                           int64_t target_offset, int64_t bytes)
{
    BlockNode *node = target->node;
    BlockReq req;
    int ret = gate_check_change(target, target_offset, bytes, 0);

    if (ret < 0) {
        return ret;
    }
    if (!node->driver->co_copy_range_to || !can_pass(node, target_offset, bytes) ||
        node->options.detect_zeroes != BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF) {
        return -ENOTSUP;
    }
    gate_enter(node);
    block_req_begin(&req, node, BLOCK_REQ_WRITE, target_offset, bytes, 0);
    co_gate_wait_turn(&req);
    ret = co_change(&req, source, source_offset);
    block_req_end(&req);
    gate_leave(node);
    return ret;
}

int co_block_copy_range(BlockChild *source, int64_t source_offset, BlockChild *target,
                        int64_t target_offset, int64_t bytes)
{
    BlockNode *node = source->node;
    BlockReq req;
    int ret = gate_check_range(node, source_offset, bytes);

    if (ret < 0 || bytes == 0) {
        return ret;
    }
    if (!node->driver->co_copy_range_from || !can_pass(node, source_offset, bytes)) {
        return -ENOTSUP;
    }
    gate_enter(node);
    block_req_begin(&req, node, BLOCK_REQ_READ, source_offset, bytes, 0);
    co_gate_wait_turn(&req);
    ret = node->driver->co_copy_range_from(node, source_offset, target, target_offset, bytes);
    block_req_end(&req);
    gate_leave(node);
    return ret;
}
