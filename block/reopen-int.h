/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of blockdev-reopen share; for reopen*.c only. */
#ifndef BLOCK_REOPEN_INT_H
#define BLOCK_REOPEN_INT_H

#include "block/node.h"

/* An edge that is to end elsewhere. */
typedef struct ReopenEdge {
    const char *name;
    BlockNode *from, *to; /* a reference each; NULL: it is made, or goes away */
    bool inherited;       /* @from was defined inside the node */
    bool changed;         /* it ends at @to now */
} ReopenEdge;

#define REOPEN_MAX_EDGES 2 /* "backing" and "file" */

/* A node that takes part. */
typedef struct ReopenEntry {
    BlockNode *node;        /* a reference */
    BlockdevOptions *given; /* NULL: an inner child that only inherits */
    BlockOptions before, after;
    ReopenEdge edges[REOPEN_MAX_EDGES];
    unsigned n_edges;
    bool begun;             /* node->options are the new ones */
    bool inactivated;       /* the image was told that nobody writes */
    bool driver_prepared;
    void *driver_state;
} ReopenEntry;

/* --- which nodes: reopen-queue.c ---------------------------------------------------------- */

/*
 * The nodes that @list (of BlockdevOptions) names, and the children that were defined inside them;
 * of ReopenEntry, owned.  NULL with an error.
 */
GPtrArray *reopen_queue_new(const GPtrArray *list, GError **errp);

/* Parents come before their children, as the edges are now. */
void reopen_queue_sort(GPtrArray *queue);

/* --- edges: reopen-edges.c ---------------------------------------------------------------- */

/* Finds out which edges are to end elsewhere. */
bool reopen_edges_find(ReopenEntry *entry, GError **errp);
void co_reopen_edges_free(ReopenEntry *entry);

/* Before anything is drained: both ends of each edge to be get onto one loop. */
bool co_reopen_edges_join(const GPtrArray *queue, GError **errp);

/* No permissions are computed.  What failed in the middle is to be undone, too. */
bool reopen_edges_change(ReopenEntry *entry, GError **errp);
void co_reopen_edges_undo(ReopenEntry *entry);

/* Graphs that lost their users by the change, or came for one that failed, go back to loop 0. */
void co_reopen_edges_send_home(const GPtrArray *queue);

#endif
