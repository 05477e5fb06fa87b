/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The dirty bitmaps of a node: a set by name, changed on loop 0 under the control lock with the
 * node's graph drained; the gate marks them on the node's loop.
 */
#ifndef BLOCK_NODE_BITMAPS_H
#define BLOCK_NODE_BITMAPS_H

#include "bitmap/dirty-bitmap.h"
#include "block/node.h"

/* The bitmap of that name, or NULL. */
DirtyBitmap *block_node_bitmap_find(const BlockNode *node, const char *name);

/* The node and bitmap that commands name, with QEMU's errors ("Dirty bitmap 'x' not found"). */
DirtyBitmap *block_bitmap_lookup(const char *node_name, const char *bitmap_name, BlockNode **node,
                                 GError **errp);

/* Bytes in which what the node (or the filters on it) shows is allocated; 0: no such unit. */
int64_t block_node_cluster_size(const BlockNode *node);

/* QEMU's default for the node: 64 KiB, or its cluster size between 4 KiB and 64 KiB. */
uint32_t block_node_default_granularity(const BlockNode *node);

/* Is it one that a bitmap can have? */
bool block_bitmap_check_granularity(uint32_t granularity, GError **errp);

/*
 * Makes an enabled bitmap.  @name NULL: anonymous (jobs).  @granularity as the user gave it is
 * checked.  Errors with QEMU's words.
 */
DirtyBitmap *block_node_bitmap_add(BlockNode *node, const char *name, uint32_t granularity,
                                   GError **errp);
/* Takes it out of the node without freeing it (a transaction may put it back). */
void block_node_bitmap_take(BlockNode *node, DirtyBitmap *bitmap);
void block_node_bitmap_put_back(BlockNode *node, DirtyBitmap *bitmap);
void block_node_bitmap_remove(BlockNode *node, DirtyBitmap *bitmap);

/* query-named-block-nodes' list, or NULL where there are none. of BlockDirtyInfo. */
GPtrArray *block_node_bitmap_infos(const BlockNode *node);

#endif
