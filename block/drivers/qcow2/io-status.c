/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Block status: what the map says.  Zeroes within clusters are looked for in the file (RECURSE)
 * only where the file has many holes: with preallocated metadata, or much of it never written.
 */
#include "block/drivers/qcow2/io.h"
#include "block/drivers/qcow2/map.h"

#include <errno.h>

/* Is clearly less of the file allocated than it is long?  Looked at once. */
static bool co_is_sparse(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    const BlockDriver *below = s->data->node->driver;
    int64_t allocated;

    if (!s->sparse_checked) {
        s->sparse_checked = true;
        allocated = below->image && below->image->co_allocated_size
                        ? below->image->co_allocated_size(s->data->node)
                        : -ENOTSUP;
        s->sparse = allocated >= 0 && allocated < s->data->node->size / 16 * 15;
    }
    return s->sparse;
}

static unsigned kind_flags(Qcow2Kind kind)
{
    switch (kind) {
    case QCOW2_KIND_NORMAL:
        return BLOCK_STATUS_DATA | BLOCK_STATUS_OFFSET_VALID | BLOCK_STATUS_ALLOCATED;
    case QCOW2_KIND_ZERO_ALLOC:
        return BLOCK_STATUS_ZERO | BLOCK_STATUS_OFFSET_VALID | BLOCK_STATUS_ALLOCATED;
    case QCOW2_KIND_ZERO:
        return BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED;
    case QCOW2_KIND_COMPRESSED:
        return BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED;
    default:
        return 0;
    }
}

int qcow2_co_block_status(BlockNode *node, bool want_zero, int64_t offset, int64_t bytes,
                          BlockStatus *status)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Run run;
    int ret = s->broken ? -EIO : co_qcow2_map(node, offset, bytes, &run);

    if (ret < 0) {
        return ret;
    }
    *status = (BlockStatus){
        .flags = kind_flags(run.kind),
        .bytes = run.bytes,
        .map = run.host,
        .file = s->data->node,
    };
    if (run.kind == QCOW2_KIND_NORMAL && want_zero && co_is_sparse(node)) {
        status->flags |= BLOCK_STATUS_RECURSE;
    }
    return 0;
}
