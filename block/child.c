/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Edges; see child.h. */
#include "block/control.h"
#include "block/graph.h"
#include "block/node-int.h"
#include "util/error.h"

BlockChild *block_child_link(BlockNode *parent, BlockUser *user, BlockNode *node, const char *name,
                             unsigned role)
{
    BlockChild *child = g_new0(BlockChild, 1);

    child->node = block_node_ref(node);
    child->parent = parent;
    child->user = user;
    child->name = g_strdup(name);
    child->role = role;
    child->shared = BLOCK_PERM_ALL;
    g_ptr_array_add(node->parents, child);
    g_ptr_array_add(parent ? parent->children : user->children, child);
    if (parent && (role & (BLOCK_ROLE_PRIMARY | BLOCK_ROLE_FILTERED))) {
        parent->file = child;
    }
    return child;
}

void co_block_child_unlink(BlockChild *child)
{
    BlockNode *node = child->node;

    if (child->parent && child->parent->file == child) {
        child->parent->file = NULL;
    }
    g_ptr_array_remove(child->parent ? child->parent->children : child->user->children, child);
    g_ptr_array_remove(node->parents, child);
    g_free(child->name);
    g_free(child);
    co_block_node_unref(node);
}

/* A node that is above @parent, or @parent itself, may not become its child. */
static bool check_place(BlockNode *parent, BlockNode *node, GError **errp)
{
    if (!parent) {
        return true;
    }
    if (block_graph_is_below(node, parent)) {
        return tm_error_set(errp, "Making '%s' a child of '%s' would create a cycle", node->name,
                            parent->name);
    }
    return block_graph_check_depth(parent, node, errp);
}

static BlockNode *end_of(BlockNode *parent, BlockUser *user)
{
    if (parent) {
        return parent;
    }
    return user->children->len ? ((BlockChild *)user->children->pdata[0])->node : NULL;
}

BlockChild *co_block_child_connect(BlockNode *parent, BlockUser *user, BlockNode *node,
                                   const char *name, unsigned role, unsigned perm, unsigned shared,
                                   GError **errp)
{
    BlockNode *other = end_of(parent, user);
    BlockNode *ends[] = { node, other };
    BlockDrain *drain;
    BlockChild *child;

    g_assert(control_locked_by_me());
    if (!check_place(parent, node, errp) ||
        (other && !co_block_graph_join(node, other, errp))) {
        return NULL;
    }
    drain = co_block_drain_begin_many(ends, other ? 2 : 1);
    child = block_child_link(parent, user, node, name, role);
    if (user) {
        child->perm = perm;
        child->shared = shared;
    }
    if (!block_graph_update_perms(errp)) {
        co_block_child_unlink(child);
        child = NULL;
        block_graph_update_perms(NULL);
    }
    co_block_drain_end(drain);
    if (!child) {
        co_block_graph_send_home(node);
    }
    return child;
}

BlockChild *co_block_child_attach(BlockNode *parent, BlockNode *node, const char *name,
                                  unsigned role, GError **errp)
{
    return co_block_child_connect(parent, NULL, node, name, role, 0, 0, errp);
}

void co_block_child_detach(BlockChild *child)
{
    BlockDrain *drain = co_block_drain_begin(child->node);

    co_block_child_unlink(child);
    block_graph_update_perms(NULL);
    co_block_drain_end(drain);
}

bool block_child_set_perm(BlockChild *child, unsigned perm, unsigned shared, GError **errp)
{
    unsigned old_perm = child->perm, old_shared = child->shared;

    child->perm = perm;
    child->shared = shared;
    if (!block_graph_update_perms(errp)) {
        child->perm = old_perm;
        child->shared = old_shared;
        return false;
    }
    return true;
}
