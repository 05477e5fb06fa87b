/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changes of the graph as a whole: filters put in and taken out of a live graph, graphs moved
 * between loops.  Loop 0, control lock held.
 */
#ifndef BLOCK_GRAPH_H
#define BLOCK_GRAPH_H

#include "block/drain.h"

/*
 * Puts @filter (whose primary child is @node already) above @node: each parent of @node, but for
 * @filter itself and edges that @keep (may be NULL) says to keep, becomes a parent of @filter.
 * The graph must be drained.  On failure (permissions) nothing changed.
 */
bool block_graph_insert_filter(BlockNode *filter, BlockNode *node,
                               bool (*keep)(BlockChild *edge, void *opaque), void *opaque,
                               GError **errp);

/*
 * The reverse: parents of @filter become parents of its primary child.  The caller drops the filter
 * then.
 */
bool block_graph_remove_filter(BlockNode *filter, GError **errp);

/*
 * Lets all parents of @from, but those that are @to or below it, be parents of @to.  Both graphs
 * are drained.  On failure (permissions) nothing changed.
 */
bool block_graph_move_parents(BlockNode *from, BlockNode *to, GError **errp);

/*
 * Moves the connected graph of @node to @loop (drains it).  An error names a user that is pinned
 * elsewhere.
 */
bool co_block_graph_move(BlockNode *node, Loop *loop, GError **errp);

/* All nodes connected to @node (through edges and users), of BlockNode, not owned. */
GPtrArray *block_graph_connected(BlockNode *node);

/* All nodes, each after its parents; not owned. */
GPtrArray *block_graph_parents_first(void);

/* Does @node stand in the graph below @top (or is it @top)? */
bool block_graph_is_below(const BlockNode *top, const BlockNode *node);

/*
 * May @node become a child of @parent, or would too many nodes be one under the other then?  A
 * request goes down by recursion, on a stack that has room for more than twice as many.
 */
bool block_graph_check_depth(const BlockNode *parent, const BlockNode *node, GError **errp);

/*
 * Moves graphs so that both nodes are on one loop: the one that nobody pins, or else the one that
 * is still on loop 0, or else that of @a.
 */
bool co_block_graph_join(BlockNode *a, BlockNode *b, GError **errp);

/*
 * To be called for a node that may have lost its last user: a graph that nobody uses goes back to
 * loop 0, so that its iothread can be removed.
 */
void co_block_graph_send_home(BlockNode *node);

/* The users of the connected graph, of BlockUser, not owned. */
GPtrArray *block_graph_users(const GPtrArray *nodes);

/*
 * Computes all permissions again from the users down, and lets drivers check the changes (image
 * locks); on failure they are as before.
 */
bool block_graph_update_perms(GError **errp);

#endif
