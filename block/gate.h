/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the files of the gate (node-io.c, node-copy.c, node-status.c, node-flush.c), and by
 * nobody else: what is common to the ways into a driver.
 */
#ifndef BLOCK_GATE_H
#define BLOCK_GATE_H

#include "block/drain-graph.h"
#include "block/block-req.h"
#include "block/node-io.h"

static inline void gate_enter(BlockNode *node)
{
    g_assert(node->loop == loop_current());
    node->in_flight++;
}

static inline void gate_leave(BlockNode *node)
{
    if (--node->in_flight == 0 && G_UNLIKELY(node->drain)) {
        drained_graph_progress(node->drain);
    }
}

/* -EIO for what is not in the node; for changes also -EPERM. */
int gate_check_range(const BlockNode *node, int64_t offset, int64_t bytes);
int gate_check_change(const BlockChild *child, int64_t offset, int64_t bytes, unsigned flags);

static inline bool gate_fits_alignment(const BlockNode *node, int64_t offset, int64_t bytes)
{
    return ((offset | bytes) & (node->limits.request_alignment - 1)) == 0;
}

/* A request that has begun: after those that it must not overtake. */
void co_gate_wait_turn(BlockReq *req);
void gate_mark_bitmaps(const BlockReq *req);

/*
 * Before a change: if it goes beyond what block-set-write-threshold said, an event tells so, once.
 */
void gate_check_write_threshold(const BlockReq *req);

#endif
