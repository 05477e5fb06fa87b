/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Edges of the graph: a parent's use of a node, with its role and permissions. */
#ifndef BLOCK_CHILD_H
#define BLOCK_CHILD_H

#include "block/node.h"

struct BlockChild {
    BlockNode *node;     /* below; the edge holds a reference */
    BlockNode *parent;   /* the node above, or NULL */
    BlockUser *user;     /* or the user above */
    char *name;          /* "file", "target", "root" … */
    unsigned role;       /* BlockRole */
    unsigned perm;       /* what the parent does; BlockPerm */
    unsigned shared;     /* what it lets others do */
    unsigned new_perm, new_shared; /* while permissions are computed (perms.c) */
};

/*
 * Attaches @node below @parent.  Takes a reference of its own to @node.  Loop 0, control lock; may
 * yield (see co_block_user_attach).  On failure nothing changed.
 */
BlockChild *co_block_child_attach(BlockNode *parent, BlockNode *node, const char *name,
                                  unsigned role, GError **errp);
void co_block_child_detach(BlockChild *child);

/* Changes what a user's root edge asks for. */
bool block_child_set_perm(BlockChild *child, unsigned perm, unsigned shared, GError **errp);

#endif
