/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The event of block-set-write-threshold: somebody writes far enough into a node. */
#include <stdatomic.h>

#include "block/block-req.h"
#include "block/gate.h"
#include "qmp-schema/qmp-events.h"

void gate_check_write_threshold(const BlockReq *req)
{
    BlockNode *node = req->node;
    uint64_t end = req->offset + req->bytes, threshold = atomic_load(&node->write_threshold);
    BlockWriteThresholdEvent event = {
        .node_name = node->name,
        .amount_exceeded = end - threshold,
        .write_threshold = threshold,
    };

    /* One that is being set at this moment counts from the next change on. */
    if (threshold && end > threshold &&
        atomic_compare_exchange_strong(&node->write_threshold, &threshold, 0)) {
        qmp_event_block_write_threshold(&event);
    }
}
