/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The QMP commands of dirty bitmaps: each is a transaction of one action, but for the checksum. */
#include "block/control.h"
#include "block/drain.h"
#include "block/node-bitmaps.h"
#include "monitor/transaction.h"
#include "qmp-schema/qmp-commands.h"

bool qmp_block_dirty_bitmap_add(const BlockDirtyBitmapAdd *args, GError **errp)
{
    return co_transaction_one(&bitmap_add_action, args, errp);
}

bool qmp_block_dirty_bitmap_remove(const BlockDirtyBitmap *args, GError **errp)
{
    return co_transaction_one(&bitmap_remove_action, args, errp);
}

bool qmp_block_dirty_bitmap_clear(const BlockDirtyBitmap *args, GError **errp)
{
    return co_transaction_one(&bitmap_clear_action, args, errp);
}

bool qmp_block_dirty_bitmap_enable(const BlockDirtyBitmap *args, GError **errp)
{
    return co_transaction_one(&bitmap_enable_action, args, errp);
}

bool qmp_block_dirty_bitmap_disable(const BlockDirtyBitmap *args, GError **errp)
{
    return co_transaction_one(&bitmap_disable_action, args, errp);
}

bool qmp_block_dirty_bitmap_merge(const BlockDirtyBitmapMerge *args, GError **errp)
{
    return co_transaction_one(&bitmap_merge_action, args, errp);
}

/* Drained, so that the bits stay while they are read. */
static BlockDirtyBitmapSha256 *co_checksum(BlockNode *node, const DirtyBitmap *bitmap)
{
    BlockDirtyBitmapSha256 *result = g_new0(BlockDirtyBitmapSha256, 1);
    BlockDrain *drain = co_block_drain_begin(node);

    result->sha256 = dirty_bitmap_sha256(bitmap);
    co_block_drain_end(drain);
    return result;
}

BlockDirtyBitmapSha256 *qmp_x_debug_block_dirty_bitmap_sha256(const BlockDirtyBitmap *args,
                                                              GError **errp)
{
    BlockDirtyBitmapSha256 *result = NULL;
    const DirtyBitmap *bitmap;
    BlockNode *node;

    co_control_lock();
    bitmap = block_bitmap_lookup(args->node, args->name, &node, errp);
    if (bitmap) {
        result = co_checksum(node, bitmap);
    }
    control_unlock();
    return result;
}
