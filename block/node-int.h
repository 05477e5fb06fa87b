/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the files that build the graph (node.c, node-open.c, child.c, user.c), and by nobody
 * else.
 */
#ifndef BLOCK_NODE_INT_H
#define BLOCK_NODE_INT_H

#include "block/driver.h"

/* A node with its name registered, without driver state; options are as the defaults. */
BlockNode *block_node_new(const char *name, const BlockDriver *driver, GError **errp);

/* Takes an edge out of both ends and drops its reference; no permissions are computed. */
void co_block_child_unlink(BlockChild *child);

/* Makes an edge and enters it at both ends; no permissions are computed. */
BlockChild *block_child_link(BlockNode *parent, BlockUser *user, BlockNode *node, const char *name,
                             unsigned role);

/*
 * Lets an edge end at another node; the old one must have another reference.  No permissions are
 * computed.
 */
void block_child_retarget(BlockChild *edge, BlockNode *to);

/*
 * The common options of a node that is given @given and inherits from @parent (NULL: nothing);
 * @options is set on success.
 */
bool block_node_resolve_options(BlockOptions *options, const BlockdevOptions *given,
                                const BlockOptions *parent, GError **errp);

/* Reads size and limits again; where the size changed, bitmaps and parents follow.  Node's loop. */
bool co_block_node_size_changed(BlockNode *node, GError **errp);

/*
 * Makes the edge with what it asks for (@perm and @shared count for a user's only) and brings the
 * permissions up to date; on failure nothing changed.  The graphs are drained meanwhile.
 */
BlockChild *co_block_child_connect(BlockNode *parent, BlockUser *user, BlockNode *node,
                                   const char *name, unsigned role, unsigned perm, unsigned shared,
                                   GError **errp);

#endif
