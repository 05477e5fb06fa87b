/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What queries tell about nodes.
 *
 * Everything but sizes on storage is there at once.  Those may take a system call that blocks, so
 * they are filled in afterwards, without the control lock: nodes are then found by name again,
 * since they can have gone.
 */
#ifndef BLOCK_INFO_H
#define BLOCK_INFO_H

#include "block/node.h"

/* The sizes that are still to be asked for. */
typedef struct BlockInfoSizes BlockInfoSizes;

BlockInfoSizes *block_info_sizes_new(void);

/*
 * An entry of query-named-block-nodes.  @flat: without the images below filters.  Must be alive
 * when
 * @sizes are filled in.  Loop 0.
 */
BlockDeviceInfo *block_device_info(const BlockNode *node, bool flat, BlockInfoSizes *sizes);

/* Fills in all, and frees @sizes.  Loop 0, in a coroutine. */
void co_block_info_sizes_fill(BlockInfoSizes *sizes);

#endif
