/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Users of nodes that are not nodes: exports and jobs.  A user holds root edges to one or more
 * nodes, and takes part in drain and in moves between loops.
 */
#ifndef BLOCK_USER_H
#define BLOCK_USER_H

#include "block/child.h"
#include "io/loop.h"

typedef struct BlockUserOps {
    /*
     * In which order users are drained: exports stop first (0), and their started requests end
     * while copiers still run; then jobs pause (1).
     */
    int drain_order;
    /*
     * All on the graph's loop, none may yield.  begin: start nothing new.  poll: is something of
     * yours still under way?  When that changes call block_user_drain_progress().  Calls nest by
     * count: only the first begin and the last end are seen.
     */
    void (*drained_begin)(void *opaque);
    bool (*drained_poll)(void *opaque);
    void (*drained_end)(void *opaque);
    /*
     * The graph is drained and moves: called in a coroutine, on the old loop and on the new one.
     * NULL: nothing to do.
     */
    void (*co_detach)(void *opaque);
    void (*co_attach)(void *opaque, Loop *loop);
    /*
     * "a block device named 'x'"-like words for permission errors: "NBD export 'x'", "block job
     * 'j'".
     */
    char *(*describe)(void *opaque);
    void (*resized)(void *opaque); /* a node's size changed; may be NULL */
} BlockUserOps;

struct BlockUser {
    const BlockUserOps *ops;
    void *opaque;
    bool pinned;          /* stays on its loop (an export with fixed-iothread) */
    BlockNode *inside;    /* whose own work it is, in place of edges; or NULL */
    GPtrArray *children;  /* root edges, of BlockChild, owned */
    unsigned drain_count; /* on the graph's loop */
    unsigned refcount;    /* its owner's, and one for each drained section that it is in; loop 0 */
    struct DrainedGraph *drain; /* who waits for drained_poll(), or NULL; graph's loop */
};

BlockUser *block_user_new(const BlockUserOps *ops, void *opaque);

/*
 * The work that a node does by itself, without a request (a filter that moves what it has saved):
 * holds no edge and keeps nothing in use, but is drained with the node's graph.  One a node, freed
 * before it.  Loop 0, control lock.
 */
BlockUser *block_user_new_inside(const BlockUserOps *ops, void *opaque, BlockNode *node);

/*
 * Adds a root edge.  Loop 0, control lock held; may yield (draining, moving the node's graph to the
 * user's loop when it has one by earlier edges).  Permission conflicts are errors with QEMU's
 * words.
 */
BlockChild *co_block_user_attach(BlockUser *user, BlockNode *node, const char *name, unsigned role,
                                 unsigned perm, unsigned shared, GError **errp);

/*
 * Drops one edge, or all of them and the user.  Loop 0, control lock; nothing of the user's may be
 * in flight.
 */
void co_block_user_detach(BlockUser *user, BlockChild *child);
void co_block_user_free(BlockUser *user); /* NULL is accepted */

/* Drops the reference of a drained section. */
void block_user_unref(BlockUser *user);

/* Something changed that drained_poll() looks at.  Graph's loop. */
void block_user_drain_progress(BlockUser *user);

/* The loop of the user's graph; loop 0 while it has neither an edge nor a node that it is in. */
Loop *block_user_loop(const BlockUser *user);

/* Is the user drained now?  Graph's loop. */
bool block_user_drained(const BlockUser *user);

#endif
