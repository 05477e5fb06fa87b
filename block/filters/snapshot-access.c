/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * snapshot-access: shows the frozen view of the copy-before-write filter below it: the disk as it
 * was when the filter was put there.  A discard says that the reader has finished with a range.
 *
 * As in QEMU it opens above any node; without a filter below its requests are not supported.
 */
#include <errno.h>

#include "block/filters/copy-before-write.h"
#include "block/filters/filters.h"

static bool snapshot_access_co_open(BlockNode *node, const BlockdevOptions *options, GError **errp)
{
    return co_block_open_child(node, options->u.snapshot_access.file, "file",
                               BLOCK_ROLE_DATA | BLOCK_ROLE_PRIMARY, errp) != NULL;
}

static int snapshot_access_co_read(BlockNode *node, int64_t offset, const IoSlice *data,
                                   unsigned flags)
{
    BlockCopy *copy = cbw_node_copy(node->file->node);

    return copy ? co_block_copy_frozen_read(copy, offset, data) : -ENOTSUP;
}

static int snapshot_access_co_block_status(BlockNode *node, bool want_zero, int64_t offset,
                                           int64_t bytes, BlockStatus *status)
{
    BlockCopy *copy = cbw_node_copy(node->file->node);

    return copy ? co_block_copy_frozen_status(copy, want_zero, offset, bytes, status) : -ENOTSUP;
}

static int snapshot_access_co_discard(BlockNode *node, int64_t offset, int64_t bytes)
{
    BlockCopy *copy = cbw_node_copy(node->file->node);

    return copy ? co_block_copy_frozen_discard(copy, offset, bytes) : -ENOTSUP;
}

/* Nothing is needed of the filter, and nothing refused: the copy has edges of its own. */
static void snapshot_access_child_perm(BlockNode *node, BlockChild *child, unsigned role,
                                       unsigned perm, unsigned shared, unsigned *child_perm,
                                       unsigned *child_shared)
{
    *child_perm = 0;
    *child_shared = BLOCK_PERM_ALL;
}

const BlockDriver block_driver_snapshot_access = {
    .id = BLOCKDEV_DRIVER_SNAPSHOT_ACCESS,
    .co_open = snapshot_access_co_open,
    .co_read = snapshot_access_co_read,
    .co_discard = snapshot_access_co_discard,
    .co_block_status = snapshot_access_co_block_status,
    .child_perm = snapshot_access_child_perm,
};
