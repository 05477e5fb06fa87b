/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Part of the gate: flush.
 *
 * A flush that follows no write since the last successful one costs nothing, and flushes of one
 * node run one at a time: those that wait meanwhile are served by the next.
 */
#include "block/gate.h"

static int flush_driver(BlockNode *node)
{
    uint64_t generation = node->write_gen;
    int ret = 0;

    if (node->flushed_gen == generation) {
        return 0;
    }
    if (node->driver->co_flush && !node->options.cache_no_flush) {
        ret = node->driver->co_flush(node);
    }
    if (ret == 0) {
        node->flushed_gen = MAX(node->flushed_gen, generation);
    }
    return ret;
}

/*
 * What a filter writes beside the data that it shows is no part of it: the target of a backup must
 * neither delay a guest's flush nor fail it (I5).
 */
static bool belongs_to_node(const BlockNode *node, const BlockChild *child)
{
    return !node->driver->is_filter || (child->role & BLOCK_ROLE_FILTERED);
}

static int flush_children(BlockNode *node)
{
    int ret = 0;

    for (unsigned i = 0; i < node->children->len; i++) {
        BlockChild *child = node->children->pdata[i];

        if (belongs_to_node(node, child) &&
            (child->perm & (BLOCK_PERM_WRITE | BLOCK_PERM_WRITE_UNCHANGED))) {
            int child_ret = co_block_flush(child);

            ret = ret ? ret : child_ret;
        }
    }
    return ret;
}

int co_gate_flush(BlockNode *node)
{
    int ret;

    gate_enter(node);
    while (node->flush_running) {
        co_queue_wait(&node->flush_waiters);
    }
    node->flush_running = true;
    ret = flush_driver(node);
    node->flush_running = false;
    co_queue_wake_one(&node->flush_waiters);
    if (ret == 0) {
        ret = flush_children(node);
    }
    gate_leave(node);
    return ret;
}

int co_block_flush(BlockChild *child)
{
    return co_gate_flush(child->node);
}
