/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changes of the graph as a whole; see graph.h. */
#include "block/graph.h"

#include "block/control.h"
#include "block/node-int.h"
#include "util/error.h"

/* --- what is connected -------------------------------------------------------------------- */

static void add_node(GPtrArray *found, GHashTable *seen, BlockNode *node)
{
    if (g_hash_table_add(seen, node)) {
        g_ptr_array_add(found, node);
    }
}

static void add_children(GPtrArray *found, GHashTable *seen, const GPtrArray *edges)
{
    for (unsigned i = 0; i < edges->len; i++) {
        add_node(found, seen, ((BlockChild *)edges->pdata[i])->node);
    }
}

static void add_neighbours(GPtrArray *found, GHashTable *seen, const BlockNode *node)
{
    add_children(found, seen, node->children);
    for (unsigned i = 0; i < node->parents->len; i++) {
        BlockChild *edge = node->parents->pdata[i];

        if (edge->parent) {
            add_node(found, seen, edge->parent);
        } else {
            add_children(found, seen, edge->user->children);
        }
    }
}

GPtrArray *block_graph_connected(BlockNode *node)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    GPtrArray *found = g_ptr_array_new();

    add_node(found, seen, node);
    for (unsigned i = 0; i < found->len; i++) {
        add_neighbours(found, seen, found->pdata[i]);
    }
    return found;
}

GPtrArray *block_graph_users(const GPtrArray *nodes)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    GPtrArray *users = g_ptr_array_new();

    for (unsigned i = 0; i < nodes->len; i++) {
        const BlockNode *node = nodes->pdata[i];

        for (unsigned j = 0; j < node->parents->len; j++) {
            BlockUser *user = ((BlockChild *)node->parents->pdata[j])->user;

            if (user && g_hash_table_add(seen, user)) {
                g_ptr_array_add(users, user);
            }
        }
    }
    return users;
}

/* The set of @top and all nodes below it, each looked at once however many ways lead there. */
static GHashTable *nodes_below(const BlockNode *top)
{
    GHashTable *seen = g_hash_table_new(NULL, NULL);
    g_autoptr(GPtrArray) found = g_ptr_array_new();

    add_node(found, seen, (BlockNode *)top);
    for (unsigned i = 0; i < found->len; i++) {
        add_children(found, seen, ((const BlockNode *)found->pdata[i])->children);
    }
    return seen;
}

bool block_graph_is_below(const BlockNode *top, const BlockNode *node)
{
    g_autoptr(GHashTable) below = nodes_below(top);

    return g_hash_table_contains(below, node);
}

/* --- depth -------------------------------------------------------------------------------- */

#define MAX_NODES_DEEP 200

static const BlockNode *end_of(const BlockChild *edge, bool down)
{
    return down ? edge->node : edge->parent;
}

/* How many nodes the longest way down or up from @node has; @known: those of nodes seen before. */
static guint depth_of(const BlockNode *node, bool down, GHashTable *known)
{
    guint depth = GPOINTER_TO_UINT(g_hash_table_lookup(known, node));
    const GPtrArray *edges = down ? node->children : node->parents;

    if (depth) {
        return depth;
    }
    for (guint i = 0; i < edges->len; i++) {
        const BlockNode *next = end_of(edges->pdata[i], down);

        depth = next ? MAX(depth, depth_of(next, down, known)) : depth;
    }
    g_hash_table_insert(known, (gpointer)node, GUINT_TO_POINTER(depth + 1));
    return depth + 1;
}

bool block_graph_check_depth(const BlockNode *parent, const BlockNode *node, GError **errp)
{
    g_autoptr(GHashTable) above = g_hash_table_new(NULL, NULL);
    g_autoptr(GHashTable) below = g_hash_table_new(NULL, NULL);

    return depth_of(parent, false, above) + depth_of(node, true, below) <= MAX_NODES_DEEP ||
           tm_error_set(errp, "With node '%s' below node '%s' there would be more than %d nodes, "
                              "one under the other", node->name, parent->name, MAX_NODES_DEEP);
}

/* --- filters ------------------------------------------------------------------------------ */

/* Lets the edge end at @to; references move with it and are never the last ones here. */
void block_child_retarget(BlockChild *edge, BlockNode *to)
{
    BlockNode *from = edge->node;

    g_ptr_array_remove(from->parents, edge);
    g_assert(from->refcount > 1);
    from->refcount--;
    edge->node = block_node_ref(to);
    g_ptr_array_add(to->parents, edge);
}

static void retarget_all(GPtrArray *edges, BlockNode *to)
{
    for (unsigned i = 0; i < edges->len; i++) {
        block_child_retarget(edges->pdata[i], to);
    }
}

/* All or nothing. A node lives on while its parents come and go. */
static bool move_edges(GPtrArray *edges, BlockNode *from, BlockNode *to, GError **errp)
{
    bool ok;

    block_node_ref(from);
    retarget_all(edges, to);
    ok = block_graph_update_perms(errp);
    if (!ok) {
        retarget_all(edges, from);
        block_graph_update_perms(NULL);
    }
    from->refcount--;
    return ok;
}

/*
 * Parents of @node that are not the filter, nor below it (the edge would close a cycle), nor kept.
 */
static GPtrArray *edges_to_move(BlockNode *filter, BlockNode *node,
                                bool (*keep)(BlockChild *edge, void *opaque), void *opaque)
{
    g_autoptr(GHashTable) below = nodes_below(filter);
    GPtrArray *edges = g_ptr_array_new();

    for (unsigned i = 0; i < node->parents->len; i++) {
        BlockChild *edge = node->parents->pdata[i];

        if (!(edge->parent && g_hash_table_contains(below, edge->parent)) &&
            !(keep && keep(edge, opaque))) {
            g_ptr_array_add(edges, edge);
        }
    }
    return edges;
}

bool block_graph_insert_filter(BlockNode *filter, BlockNode *node,
                               bool (*keep)(BlockChild *edge, void *opaque), void *opaque,
                               GError **errp)
{
    g_autoptr(GPtrArray) edges = edges_to_move(filter, node, keep, opaque);

    g_assert(control_locked_by_me() && filter->file && filter->file->node == node);
    return move_edges(edges, node, filter, errp);
}

bool block_graph_move_parents(BlockNode *from, BlockNode *to, GError **errp)
{
    g_autoptr(GPtrArray) edges = edges_to_move(to, from, NULL, NULL);

    g_assert(control_locked_by_me());
    return move_edges(edges, from, to, errp);
}

bool block_graph_remove_filter(BlockNode *filter, GError **errp)
{
    BlockNode *node = filter->file->node;
    g_autoptr(GPtrArray) edges = g_ptr_array_new();

    g_assert(control_locked_by_me());
    for (unsigned i = 0; i < filter->parents->len; i++) {
        g_ptr_array_add(edges, filter->parents->pdata[i]);
    }
    return move_edges(edges, filter, node, errp);
}

/* --- moving between loops ----------------------------------------------------------------- */

static BlockUser *find_pinned(const GPtrArray *users)
{
    for (unsigned i = 0; i < users->len; i++) {
        BlockUser *user = users->pdata[i];

        if (user->pinned) {
            return user;
        }
    }
    return NULL;
}

static void co_detach_all(const GPtrArray *nodes, const GPtrArray *users)
{
    for (unsigned i = 0; i < users->len; i++) {
        BlockUser *user = users->pdata[i];

        if (user->ops->co_detach) {
            user->ops->co_detach(user->opaque);
        }
    }
    for (unsigned i = 0; i < nodes->len; i++) {
        BlockNode *node = nodes->pdata[i];

        if (node->opened && node->driver->loop) {
            node->driver->loop->co_detach(node);
        }
    }
}

static void co_attach_all(const GPtrArray *nodes, const GPtrArray *users, Loop *loop)
{
    for (unsigned i = 0; i < nodes->len; i++) {
        BlockNode *node = nodes->pdata[i];

        node->loop = loop;
        if (node->opened && node->driver->loop) {
            node->driver->loop->co_attach(node);
        }
    }
    for (unsigned i = 0; i < users->len; i++) {
        BlockUser *user = users->pdata[i];

        if (user->ops->co_attach) {
            user->ops->co_attach(user->opaque, loop);
        }
    }
}

bool co_block_graph_move(BlockNode *node, Loop *loop, GError **errp)
{
    g_autoptr(GPtrArray) nodes = NULL, users = NULL;
    BlockUser *pinned;
    BlockDrain *drain;

    g_assert(control_locked_by_me());
    if (node->loop == loop) {
        return true;
    }
    nodes = block_graph_connected(node);
    users = block_graph_users(nodes);
    pinned = find_pinned(users);
    if (pinned) {
        g_autofree char *text = pinned->ops->describe(pinned->opaque);

        return tm_error_set(errp,
                            "Cannot move node '%s' from iothread '%s' to '%s': %s stays there",
                            node->name, loop_name(node->loop), loop_name(loop), text);
    }
    drain = co_block_drain_begin(node);
    co_move(node->loop);
    co_detach_all(nodes, users);
    co_move(loop);
    co_attach_all(nodes, users, loop);
    co_move(control_loop());
    co_block_drain_end(drain);
    return true;
}

static bool is_pinned(BlockNode *node)
{
    g_autoptr(GPtrArray) nodes = block_graph_connected(node);
    g_autoptr(GPtrArray) users = block_graph_users(nodes);

    return find_pinned(users) != NULL;
}

bool co_block_graph_join(BlockNode *a, BlockNode *b, GError **errp)
{
    bool b_is_home = b->loop == control_loop() && !is_pinned(b);

    if (a->loop == b->loop) {
        return true;
    }
    if (is_pinned(a) || b_is_home) {
        return co_block_graph_move(b, a->loop, errp);
    }
    return co_block_graph_move(a, b->loop, errp);
}

void co_block_graph_send_home(BlockNode *node)
{
    g_autoptr(GPtrArray) nodes = block_graph_connected(node);
    g_autoptr(GPtrArray) users = block_graph_users(nodes);

    if (users->len == 0 && !co_block_graph_move(node, control_loop(), NULL)) {
        g_assert_not_reached(); /* no user, so nobody pins it */
    }
}
