/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Users of nodes; see user.h. */
#include "block/user.h"

#include "block/control.h"
#include "block/drain-graph.h"
#include "block/graph.h"
#include "block/node-int.h"

BlockUser *block_user_new(const BlockUserOps *ops, void *opaque)
{
    BlockUser *user = g_new0(BlockUser, 1);

    user->ops = ops;
    user->opaque = opaque;
    user->children = g_ptr_array_new();
    user->refcount = 1;
    return user;
}

BlockUser *block_user_new_inside(const BlockUserOps *ops, void *opaque, BlockNode *node)
{
    BlockUser *user = block_user_new(ops, opaque);

    g_assert(!node->worker);
    user->inside = node;
    node->worker = user;
    return user;
}

BlockChild *co_block_user_attach(BlockUser *user, BlockNode *node, const char *name, unsigned role,
                                 unsigned perm, unsigned shared, GError **errp)
{
    return co_block_child_connect(NULL, user, node, name, role, perm, shared, errp);
}

void co_block_user_detach(BlockUser *user, BlockChild *child)
{
    BlockNode *node = block_node_ref(child->node);

    g_assert(child->user == user);
    co_block_child_detach(child);
    co_block_graph_send_home(node);
    co_block_node_unref(node);
}

void block_user_unref(BlockUser *user)
{
    if (--user->refcount == 0) {
        g_ptr_array_free(user->children, true);
        g_free(user);
    }
}

void co_block_user_free(BlockUser *user)
{
    if (!user) {
        return;
    }
    while (user->children->len) {
        co_block_user_detach(user, user->children->pdata[user->children->len - 1]);
    }
    if (user->inside) {
        user->inside->worker = NULL;
        user->inside = NULL;
    }
    user->ops = NULL; /* a drained section that still knows it leaves it alone */
    block_user_unref(user);
}

Loop *block_user_loop(const BlockUser *user)
{
    if (user->inside) {
        return user->inside->loop;
    }
    return user->children->len ? ((BlockChild *)user->children->pdata[0])->node->loop
                               : control_loop();
}

bool block_user_drained(const BlockUser *user)
{
    return user->drain_count > 0;
}

void block_user_drain_progress(BlockUser *user)
{
    if (user->drain) {
        drained_graph_progress(user->drain);
    }
}
