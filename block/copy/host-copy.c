/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Chunks that the host copies (copy_file_range), without a way through our memory.
 *
 * It reads the source while the guest goes on, so that the target may get newer bytes of blocks
 * that are saved meanwhile.  Read, then overlay (I2) holds all the same: such a block stays in its
 * saved place until the host is done, and is written over it then; a block that is pending then was
 * not written since the instant.  What makes it so:
 *
 * - The host gets ranges all of which are pending: what is in the target already stays there.
 * - No block leaves staging for the target while the host copies it (copy_next_leaving()).
 * - Nobody may be looking at the target, who could see those newer bytes for a moment.
 *
 * What the host cannot do it fails to do at once, and is not asked again.
 */
#include "block/copy/copy-int.h"

/* Does anybody read the node of @edge, or one below it, by another way? */
static bool is_read_by_others(const BlockChild *edge)
{
    const BlockNode *node = edge->node;

    for (unsigned i = 0; i < node->parents->len; i++) {
        const BlockChild *other = node->parents->pdata[i];

        if (other != edge && (other->perm & BLOCK_PERM_CONSISTENT_READ)) {
            return true;
        }
    }
    return node->file && is_read_by_others(node->file);
}

/* A new reader comes when all is drained, so that what holds for a chunk holds until it ends. */
bool copy_host_may(const BlockCopy *copy, int64_t offset, int64_t bytes)
{
    return copy->use_host && !copy->off && !copy->target_flags &&
           copy_all_pending(copy, offset, bytes) && !is_read_by_others(copy->target);
}

/* Which end has failed, if one has, it does not say: reading and writing will. */
int co_copy_by_host(BlockCopy *copy, int64_t offset, int64_t bytes)
{
    uint64_t first = copy_first_block(copy, offset);
    int ret;

    sparse_bitmap_set(copy->hosted, first, copy_end_block(copy, offset, bytes) - first);
    ret = co_block_copy_range(copy->source, offset, copy->target, offset, bytes);
    if (ret < 0) {
        copy->use_host = false;
    }
    return ret;
}

void copy_host_end(BlockCopy *copy, int64_t offset, int64_t bytes)
{
    uint64_t first = copy_first_block(copy, offset);

    sparse_bitmap_clear(copy->hosted, first, copy_end_block(copy, offset, bytes) - first);
    co_queue_wake_all(&copy->transit_stops);
}

bool copy_next_leaving(const BlockCopy *copy, uint64_t from, uint64_t *block)
{
    const SparseBitmap *held = staging_held(copy->staging);

    while (sparse_bitmap_next_set(held, from, UINT64_MAX, block) &&
           sparse_bitmap_get(copy->hosted, *block)) {
        from = *block + 1;
    }
    return sparse_bitmap_next_set(held, from, UINT64_MAX, block);
}
