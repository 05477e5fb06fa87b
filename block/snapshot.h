/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * External snapshots: a node gets an overlay, which all its parents use from then on, and becomes
 * the overlay's backing file.  Loop 0, control lock held.
 */
#ifndef BLOCK_SNAPSHOT_H
#define BLOCK_SNAPSHOT_H

#include "block/drain.h"

/*
 * Checks both (QEMU's words), brings them onto one loop, and puts @overlay above @node.  @node's
 * graph is drained by the caller (the snapshots of one transaction are of one instant).  May
 * yield.  On failure nothing changed.
 */
bool co_block_snapshot_append(BlockNode *node, BlockNode *overlay, GError **errp);

/*
 * Undoes it: parents use @node again and @overlay has no backing file.  For aborted transactions.
 */
void co_block_snapshot_undo(BlockNode *node, BlockNode *overlay);

#endif
