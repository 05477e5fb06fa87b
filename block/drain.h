/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Drain: a section in which no request is in flight in the graphs that are connected to some nodes,
 * and none begins.  Top-down: exports stop taking requests; their started requests end while
 * copiers still run (they may be what a request waits for); then jobs pause.
 *
 * Called on loop 0 with the control lock held.  Sections nest.  Inside, loop 0 may change what
 * belongs to the graphs' loops.
 */
#ifndef BLOCK_DRAIN_H
#define BLOCK_DRAIN_H

#include "block/user.h"

typedef struct BlockDrain BlockDrain;

BlockDrain *co_block_drain_begin(BlockNode *node);
BlockDrain *co_block_drain_begin_many(BlockNode *const *nodes, size_t n_nodes);
void co_block_drain_end(BlockDrain *drain);

#endif
