/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A live node becomes read-only, as the lower node of an external snapshot does: what it holds goes
 * into the image (persistent bitmaps too), and it gives up its right to write.
 */
#ifndef BLOCK_READ_ONLY_H
#define BLOCK_READ_ONLY_H

#include "block/node.h"

/*
 * Loop 0, control lock held, graph drained.  Children that were opened with the node follow it.
 * -EBUSY where a parent may write; on failure the node is as it was, but for bitmaps that were
 * stored already.
 */
G_GNUC_WARN_UNUSED_RESULT int co_block_node_make_read_only(BlockNode *node);

#endif
