/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* External snapshots; see snapshot.h. */
#include "block/snapshot.h"

#include "block/control.h"
#include "block/graph.h"
#include "block/node-int.h"
#include "util/error.h"

static bool check_overlay(const BlockNode *overlay, GError **errp)
{
    if (overlay->perm & BLOCK_PERM_CONSISTENT_READ) {
        return tm_error_set(errp, "The overlay is already in use");
    }
    if (overlay->driver->is_filter) {
        return tm_error_set(errp, "Filters cannot be used as overlays");
    }
    if (block_node_child(overlay, "backing")) {
        return tm_error_set(errp, "The overlay already has a backing image");
    }
    if (!overlay->driver->supports_backing) {
        return tm_error_set(errp, "The overlay does not support backing images");
    }
    return true;
}

bool co_block_snapshot_append(BlockNode *node, BlockNode *overlay, GError **errp)
{
    BlockChild *backing;

    g_assert(control_locked_by_me());
    if (!check_overlay(overlay, errp) || !co_block_graph_join(node, overlay, errp)) {
        return false;
    }
    if (block_graph_is_below(node, overlay)) {
        return tm_error_set(errp, "Making '%s' a backing child of '%s' would create a cycle",
                            node->name, overlay->name);
    }
    backing = block_child_link(overlay, NULL, node, "backing", BLOCK_ROLE_COW);
    if (!block_graph_move_parents(node, overlay, errp)) {
        co_block_child_unlink(backing);
        block_graph_update_perms(NULL);
        return false;
    }
    return true;
}

void co_block_snapshot_undo(BlockNode *node, BlockNode *overlay)
{
    g_assert(control_locked_by_me());
    block_node_ref(node); /* the edge may be all that holds it now */
    co_block_child_unlink(block_node_child(overlay, "backing"));
    if (!block_graph_move_parents(overlay, node, NULL)) {
        g_assert_not_reached(); /* these edges were there before */
    }
    co_block_node_unref(node);
}
