/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the files of the gate (node-io.c, node-status.c, node-flush.c), and by nobody else:
 * what is common to the ways into a driver.
 */
#ifndef BLOCK_GATE_H
#define BLOCK_GATE_H

#include "block/drain-graph.h"
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

/*
 * Before a change: if it goes beyond what block-set-write-threshold said, an event tells so, once.
 */
void gate_check_write_threshold(const BlockReq *req);

#endif
