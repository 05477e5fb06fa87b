/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Part of the gate: changing the size of a node, and telling all that rests on it. */
#include "bitmap/dirty-bitmap.h"
#include "block/block-req.h"
#include "block/gate.h"
#include "block/node-int.h"
#include "block/user.h"
#include "util/error.h"

/* The node is read again; where its size changed, bitmaps and parents follow. */
static bool co_changed(BlockNode *node, int (*co_refresh)(BlockNode *node), GError **errp)
{
    int64_t old_size = node->size;
    int ret = co_refresh(node);

    if (ret < 0) {
        return tm_error_set_errno(errp, -ret, "Could not refresh total sector count");
    }
    if (node->size == old_size) {
        return true;
    }
    for (unsigned i = 0; i < node->bitmaps->len; i++) {
        dirty_bitmap_truncate(node->bitmaps->pdata[i], node->size);
    }
    for (unsigned i = 0; i < node->parents->len; i++) {
        BlockChild *edge = node->parents->pdata[i];

        if (edge->parent) {
            if (edge->parent->opened && !co_changed(edge->parent, co_refresh, errp)) {
                return false;
            }
        } else if (edge->user->ops->resized) {
            edge->user->ops->resized(edge->user->opaque);
        }
    }
    return true;
}

/* The graph is drained. */
bool co_block_node_size_changed(BlockNode *node, GError **errp)
{
    return co_changed(node, co_block_node_refresh, errp);
}

static bool call_driver(BlockNode *node, int64_t size, bool exact, PreallocMode prealloc,
                        GError **errp)
{
    if (node->driver->image && node->driver->image->co_truncate) {
        return node->driver->image->co_truncate(node, size, exact, prealloc, errp) == 0;
    }
    if (node->driver->is_filter && node->file) {
        return co_block_truncate(node->file, size, exact, prealloc, errp);
    }
    return tm_error_set(errp, "Image format driver does not support resize");
}

static bool check(const BlockChild *child, int64_t size, GError **errp)
{
    if (size < 0) {
        return tm_error_set(errp, "Image size cannot be negative");
    }
    if (size > BLOCK_MAX_SIZE) {
        return tm_error_set(errp, "offset(%" PRId64 ") exceeds maximum(%" PRId64 ")", size,
                            BLOCK_MAX_SIZE);
    }
    if (child->node->options.read_only) {
        return tm_error_set(errp, "Image is read-only");
    }
    if (!(child->perm & BLOCK_PERM_RESIZE)) {
        return tm_error_set(errp, "Node '%s' may not be resized by this user", child->node->name);
    }
    return true;
}

bool co_block_truncate(BlockChild *child, int64_t size, bool exact, PreallocMode prealloc,
                       GError **errp)
{
    BlockNode *node = child->node;
    int64_t first = MIN(node->size, size), last = MAX(node->size, size);
    BlockReq req;
    bool ok;

    if (!check(child, size, errp)) {
        return false;
    }
    gate_enter(node);
    block_req_begin(&req, node, BLOCK_REQ_TRUNCATE, first, last - first, 0);
    co_block_req_serialise(&req, node->limits.request_alignment);
    ok = call_driver(node, size, exact, prealloc, errp) &&
         co_changed(node, co_block_node_refresh_size, errp);
    node->write_gen++;
    block_req_end(&req);
    gate_leave(node);
    return ok;
}
