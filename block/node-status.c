/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Part of the gate: block status.
 *
 * A driver answers for its own layer; here its answer is clipped to the range that was asked for
 * and combined with those of the nodes below, where it says RAW (all of it is theirs) or RECURSE
 * (they may know of zeroes).  What a layer does not have is asked of its backing file.  A hook of a
 * layer speaks before and after (block/hook.h).
 */
#include "block/gate.h"
#include "block/hook.h"

static int co_node_status(BlockNode *node, bool want_zero, int64_t offset, int64_t bytes,
                          BlockStatus *status);
static int co_chain_status(BlockNode *node, const BlockNode *base, bool want_zero, int64_t offset,
                           int64_t bytes, BlockStatus *status);

/* What a node without an operation says: everything is data. */
static void all_data(BlockNode *node, int64_t offset, int64_t bytes, BlockStatus *status)
{
    *status = (BlockStatus){
        .flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED,
        .bytes = bytes,
    };
    if (node->driver->is_protocol) {
        status->flags |= BLOCK_STATUS_OFFSET_VALID;
        status->map = offset;
        status->file = node;
    }
}

/* Asks the driver for the range rounded out to its alignment, and cuts the answer back. */
static int driver_status(BlockNode *node, bool want_zero, int64_t offset, int64_t bytes,
                         BlockStatus *status)
{
    int64_t align = node->limits.request_alignment;
    int64_t start = offset / align * align;
    int64_t end = (offset + bytes + align - 1) / align * align;
    int ret;

    *status = (BlockStatus){ 0 };
    ret = node->driver->co_block_status(node, want_zero, start, end - start, status);
    if (ret < 0) {
        return ret;
    }
    g_assert(status->bytes > offset - start);
    status->bytes = MIN(status->bytes - (offset - start), bytes);
    status->map += offset - start;
    if (status->flags & (BLOCK_STATUS_DATA | BLOCK_STATUS_ZERO)) {
        status->flags |= BLOCK_STATUS_ALLOCATED;
    }
    return 0;
}

/*
 * The lower node's word counts, but for how the layer above is allocated.  A filter shows a
 * layer; what stores its data in another node (raw) shows all that is read there.
 */
static int status_of_raw(const BlockNode *node, BlockStatus *status, bool want_zero)
{
    BlockStatus below;
    int ret = node->driver->is_filter
                  ? co_node_status(status->file, want_zero, status->map, status->bytes, &below)
                  : co_chain_status(status->file, NULL, want_zero, status->map, status->bytes,
                                    &below);

    if (ret == 0) {
        below.flags |= status->flags & BLOCK_STATUS_ALLOCATED;
        *status = below;
    }
    return ret;
}

/*
 * The node below may know that what is stored for us reads as zeroes. An error there is no error
 * here.
 */
static void look_for_zeroes(BlockStatus *status, bool want_zero)
{
    BlockStatus below;

    if (co_node_status(status->file, want_zero, status->map, status->bytes, &below) < 0 ||
        below.bytes == 0) {
        return;
    }
    if (below.flags & BLOCK_STATUS_ZERO) {
        status->flags |= BLOCK_STATUS_ZERO;
    }
    status->bytes = below.bytes;
}

static int combine(const BlockNode *node, BlockStatus *status, bool want_zero)
{
    if (status->flags & BLOCK_STATUS_RAW) {
        return status_of_raw(node, status, want_zero);
    }
    if ((status->flags & BLOCK_STATUS_RECURSE) && (status->flags & BLOCK_STATUS_DATA) &&
        (status->flags & BLOCK_STATUS_OFFSET_VALID) && !(status->flags & BLOCK_STATUS_ZERO)) {
        look_for_zeroes(status, want_zero);
    }
    status->flags &= ~BLOCK_STATUS_RECURSE;
    return 0;
}

static int co_node_status(BlockNode *node, bool want_zero, int64_t offset, int64_t bytes,
                          BlockStatus *status)
{
    int ret = 0;

    if (offset >= node->size) {
        *status = (BlockStatus){ .flags = BLOCK_STATUS_ZERO };
        return 0;
    }
    bytes = MIN(bytes, node->size - offset);
    gate_enter(node);
    if (node->driver->co_block_status) {
        ret = driver_status(node, want_zero, offset, bytes, status);
    } else if (node->driver->is_filter) {
        *status = (BlockStatus){
            .flags = BLOCK_STATUS_RAW,
            .bytes = bytes,
            .map = offset,
            .file = node->file->node,
        };
    } else {
        all_data(node, offset, bytes, status);
    }
    if (ret == 0) {
        ret = combine(node, status, want_zero);
    }
    gate_leave(node);
    return ret;
}

/*
 * Beyond the end of a shorter backing file is what was never written: zeroes, which that layer
 * decides (nothing below it is asked).
 */
static void past_end(int64_t bytes, BlockStatus *status)
{
    *status = (BlockStatus){
        .flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED,
        .bytes = bytes,
    };
}

/* Can it be part of a chain, so that what it does not have is zeroes at the chain's end? */
static bool has_layers(BlockNode *node)
{
    return block_node_skip_filters(node)->driver->supports_backing;
}

/* The hook that has a say in the status of a layer: of its node, or of a filter on it; or NULL. */
static BlockHook *find_hook(const BlockNode *layer)
{
    while (layer) {
        for (unsigned i = 0; i < layer->hooks->len; i++) {
            BlockHook *hook = layer->hooks->pdata[i];

            if (hook->status_before) {
                return hook;
            }
        }
        layer = layer->driver->is_filter && layer->file ? layer->file->node : NULL;
    }
    return NULL;
}

/* The layers of @node, down to @base (exclusive; NULL: all of them), until one has the bytes. */
static int co_layers_status(BlockNode *node, const BlockNode *base, bool want_zero, int64_t offset,
                            int64_t bytes, BlockStatus *status)
{
    BlockNode *layer = node;
    unsigned depth = 1;
    int ret = co_node_status(node, want_zero, offset, bytes, status);

    while (ret == 0 && status->bytes > 0 && !(status->flags & BLOCK_STATUS_ALLOCATED)) {
        BlockNode *below = block_node_backing(layer);

        bytes = status->bytes;
        if (!below || below == base) {
            status->flags |= below || !has_layers(layer) ? 0 : BLOCK_STATUS_ZERO;
            depth = 0;
            break;
        }
        layer = below;
        depth++;
        if (offset >= layer->size) {
            past_end(bytes, status);
            break;
        }
        if (find_hook(layer)) {
            ret = co_chain_status(layer, base, want_zero, offset, bytes, status);
            depth = status->depth ? depth - 1 + status->depth : 0;
            break;
        }
        ret = co_node_status(layer, want_zero, offset, bytes, status);
    }
    status->depth = depth;
    return ret;
}

/* The same with a look at the hook of @node. */
static int co_chain_status(BlockNode *node, const BlockNode *base, bool want_zero, int64_t offset,
                           int64_t bytes, BlockStatus *status)
{
    BlockHook *hook = find_hook(node);
    bool recheck;
    int ret;

    if (G_LIKELY(!hook) || bytes == 0) {
        return co_layers_status(node, base, want_zero, offset, bytes, status);
    }
    do {
        int64_t n = bytes;

        recheck = false;
        if (hook->status_before(hook, offset, &n, status, &recheck)) {
            status->depth = 1;
            return 0;
        }
        ret = co_layers_status(node, base, want_zero, offset, n, status);
    } while (ret == 0 && recheck && status->bytes > 0 &&
             !hook->status_after(hook, offset, status));
    return ret;
}

int co_block_status_above(BlockChild *child, const BlockNode *base, bool want_zero, int64_t offset,
                          int64_t bytes, BlockStatus *status)
{
    if (offset < 0 || bytes < 0) {
        return -EIO;
    }
    return co_chain_status(child->node, base, want_zero, offset, bytes, status);
}

int co_block_status(BlockChild *child, bool want_zero, int64_t offset, int64_t bytes,
                    BlockStatus *status)
{
    return co_block_status_above(child, NULL, want_zero, offset, bytes, status);
}
