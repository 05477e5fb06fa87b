/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Drain; see drain.h.
 *
 * A section holds one DrainedGraph for each connected graph.  The coroutine of the section moves
 * to the graph's loop, tells the users in their order to stop and waits there until nothing is in
 * flight; then it comes back to loop 0, and the way back is what makes the loop's writes visible.
 */
#include "block/drain.h"

#include "block/control.h"
#include "block/drain-graph.h"
#include "block/graph.h"
#include "block/node-int.h"

#define DRAIN_ORDERS 2

struct DrainedGraph {
    Loop *loop;
    GPtrArray *nodes; /* of BlockNode, not owned: only used while waiting */
    GPtrArray *users; /* of BlockUser, a reference each */
    Co *waiter;
};

struct BlockDrain {
    GPtrArray *graphs; /* of DrainedGraph, owned */
};

void drained_graph_progress(DrainedGraph *graph)
{
    Co *waiter = graph->waiter;

    if (waiter) {
        graph->waiter = NULL;
        co_wake(waiter);
    }
}

static void drained_graph_free(void *opaque)
{
    DrainedGraph *graph = opaque;

    g_ptr_array_free(graph->users, true);
    g_free(graph);
}

/* Users that are inside nodes, too. */
static void add_workers(GPtrArray *users, const GPtrArray *nodes)
{
    for (unsigned i = 0; i < nodes->len; i++) {
        BlockNode *node = nodes->pdata[i];

        if (node->worker) {
            g_ptr_array_add(users, node->worker);
        }
    }
}

static DrainedGraph *drained_graph_new(BlockNode *node)
{
    DrainedGraph *graph = g_new0(DrainedGraph, 1);

    graph->loop = node->loop;
    graph->nodes = block_graph_connected(node);
    graph->users = block_graph_users(graph->nodes);
    add_workers(graph->users, graph->nodes);
    g_ptr_array_set_free_func(graph->users, (GDestroyNotify)block_user_unref);
    for (unsigned i = 0; i < graph->users->len; i++) {
        ((BlockUser *)graph->users->pdata[i])->refcount++;
    }
    return graph;
}

static void set_waited_for(DrainedGraph *graph, DrainedGraph *value)
{
    for (unsigned i = 0; i < graph->nodes->len; i++) {
        ((BlockNode *)graph->nodes->pdata[i])->drain = value;
    }
    for (unsigned i = 0; i < graph->users->len; i++) {
        ((BlockUser *)graph->users->pdata[i])->drain = value;
    }
}

static bool users_busy(const DrainedGraph *graph, int order)
{
    for (unsigned i = 0; i < graph->users->len; i++) {
        BlockUser *user = graph->users->pdata[i];

        if (user->ops->drain_order == order && user->ops->drained_poll(user->opaque)) {
            return true;
        }
    }
    return false;
}

static bool nodes_busy(const DrainedGraph *graph)
{
    for (unsigned i = 0; i < graph->nodes->len; i++) {
        if (((BlockNode *)graph->nodes->pdata[i])->in_flight) {
            return true;
        }
    }
    return false;
}

static void co_wait_progress(DrainedGraph *graph)
{
    graph->waiter = co_self();
    co_yield();
}

static void stop_users(DrainedGraph *graph, int order)
{
    for (unsigned i = 0; i < graph->users->len; i++) {
        BlockUser *user = graph->users->pdata[i];

        if (user->ops->drain_order == order && user->drain_count++ == 0) {
            user->ops->drained_begin(user->opaque);
        }
    }
}

static void co_drain_graph(DrainedGraph *graph)
{
    co_move(graph->loop);
    set_waited_for(graph, graph);
    for (int order = 0; order < DRAIN_ORDERS; order++) {
        stop_users(graph, order);
        while (users_busy(graph, order)) {
            co_wait_progress(graph);
        }
    }
    while (nodes_busy(graph)) {
        co_wait_progress(graph);
    }
    set_waited_for(graph, NULL);
    co_move(control_loop());
    g_clear_pointer(&graph->nodes, g_ptr_array_unref);
}

static bool knows(const BlockDrain *drain, BlockNode *node)
{
    for (unsigned i = 0; i < drain->graphs->len; i++) {
        DrainedGraph *graph = drain->graphs->pdata[i];

        if (g_ptr_array_find(graph->nodes, node, NULL)) {
            return true;
        }
    }
    return false;
}

BlockDrain *co_block_drain_begin_many(BlockNode *const *nodes, size_t n_nodes)
{
    BlockDrain *drain = g_new0(BlockDrain, 1);

    g_assert(control_locked_by_me());
    drain->graphs = g_ptr_array_new_with_free_func(drained_graph_free);
    for (size_t i = 0; i < n_nodes; i++) {
        if (!knows(drain, nodes[i])) {
            g_ptr_array_add(drain->graphs, drained_graph_new(nodes[i]));
        }
    }
    for (unsigned i = 0; i < drain->graphs->len; i++) {
        co_drain_graph(drain->graphs->pdata[i]);
    }
    return drain;
}

BlockDrain *co_block_drain_begin(BlockNode *node)
{
    return co_block_drain_begin_many(&node, 1);
}

/* The user may have moved to another loop, or be gone, since the section began. */
static void co_release_user(BlockUser *user)
{
    if (!user->ops) {
        return;
    }
    co_move(block_user_loop(user));
    if (--user->drain_count == 0) {
        user->ops->drained_end(user->opaque);
    }
    co_move(control_loop());
}

void co_block_drain_end(BlockDrain *drain)
{
    for (unsigned i = 0; i < drain->graphs->len; i++) {
        DrainedGraph *graph = drain->graphs->pdata[i];

        for (unsigned j = 0; j < graph->users->len; j++) {
            co_release_user(graph->users->pdata[j]);
        }
    }
    g_ptr_array_free(drain->graphs, true);
    g_free(drain);
}
