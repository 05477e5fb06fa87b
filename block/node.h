/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Block nodes: one opened image, filter or protocol each.
 *
 * Names, options and edges change only on loop 0 under the control lock, with the node's graph
 * drained (block/control.h, block/drain.h); the data path reads them on node->loop without a lock.
 * The fields of requests in flight belong to node->loop.
 */
#ifndef BLOCK_NODE_H
#define BLOCK_NODE_H

#include "block/block-types.h"
#include "io/co-lock.h"
#include "qmp-schema/qmp-types.h"

/* The options that every driver has. */
typedef struct BlockOptions {
    bool read_only;      /* opened or fallen back to read-only */
    bool auto_read_only; /* may fall back */
    bool cache_direct, cache_no_flush;
    bool discard_unmap;  /* discards reach the driver */
    bool force_share;
    BlockdevDetectZeroesOptions detect_zeroes;
} BlockOptions;

typedef struct BlockReqList {
    BlockReq *first;
    uint64_t next_sequence;
} BlockReqList;

struct BlockNode {
    char *name;                 /* node-name, made up ("#block042") where the user gave none */
    const BlockDriver *driver;
    void *state;                /* driver->state_size bytes, zeroed before co_open */
    char *filename;             /* a protocol's, see block_node_filename(); never NULL */
    Loop *loop;                 /* the loop of the connected graph */
    unsigned refcount;          /* loop 0 */
    bool by_user;               /* blockdev-add holds one reference */
    bool opened;                /* driver->co_open succeeded */
    BlockOptions options;
    unsigned perm, shared;      /* what all parents together do, and all of them let others do */
    BlockLimits limits;         /* set by block_node_refresh_limits() */
    int64_t size;               /* bytes; refreshed by truncate */

    BlockdevOptions *given;     /* as it was opened or reopened with; owned */
    const BlockNode *inherits_from; /* the node inside whose options it was defined, or NULL */
    bool becomes_read_only;     /* a reopen is under way that takes the right to write */
    const BlockNode *opened_for; /* while it is opened: the node whose child it will be, or NULL */

    BlockChild *file;           /* the primary child or NULL: image file or filtered node */
    GPtrArray *children;        /* of BlockChild, edges downwards, owned */
    GPtrArray *parents;         /* of BlockChild, edges from above, not owned */

    /* Requests; on node->loop. */
    unsigned in_flight;
    struct DrainedGraph *drain; /* who waits for in_flight to fall to 0, or NULL */
    BlockReqList requests;      /* tracked: overlap checks */
    unsigned serialising;       /* how many of them are serialising */
    uint64_t write_gen;         /* counts completed writes */
    uint64_t flushed_gen;       /* write_gen that the last successful flush covered */
    bool flush_running;
    CoQueue flush_waiters;

    _Atomic uint64_t write_threshold; /* block-set-write-threshold; 0: none; any thread */
    GPtrArray *bitmaps;         /* of DirtyBitmap, owned; see block/node-bitmaps.h */
    BlockUser *worker;          /* what it does by itself, or NULL; see block/user.h */
    GPtrArray *hooks;           /* of BlockHook, not owned; see block/hook.h */
};

/*
 * Opens a node and, where options name them inline, its children; the caller owns one reference.
 * A node without a name gets one made up ("#block042"); blockdev-add checks that there is one.
 * Loop 0 with the control lock held; may yield.  The node starts on loop 0 (children that are given
 * by reference bring their loop).
 */
BlockNode *co_block_node_open(const BlockdevOptions *options, GError **errp);

/*
 * The same for an inline child of @parent, from which it inherits cache, read-only and force-share
 * options that it does not set itself.
 */
BlockNode *co_block_node_open_inherit(const BlockdevOptions *options, const BlockNode *parent,
                                      GError **errp);

/*
 * References; the last one closes the node and drops its children.  Loop 0, control lock; may
 * yield.
 */
BlockNode *block_node_ref(BlockNode *node);
void co_block_node_unref(BlockNode *node); /* NULL is accepted */

/* The node of that name, or NULL.  Loop 0. */
BlockNode *block_node_find(const char *name);

/* The same with QEMU's error ("Cannot find device='' nor node-name='x'") */
BlockNode *block_node_lookup(const char *name, GError **errp);

/* All named nodes in the order in which they were opened; of BlockNode, not owned.  Loop 0. */
const GPtrArray *block_nodes(void);

/* Is the node or a node below it read-only? */
bool block_node_is_read_only(const BlockNode *node);

/* What messages and queries call the image: that of the protocol which is at the bottom now. */
const char *block_node_filename(const BlockNode *node);

/* Skips filters downwards (nodes whose driver is a filter), to the node that holds the data. */
BlockNode *block_node_skip_filters(BlockNode *node);

/* The backing file of the node, or of what the filters on it show; NULL where there is none. */
BlockNode *block_node_backing(BlockNode *node);

/* The child called @name, or NULL. */
BlockChild *block_node_child(const BlockNode *node, const char *name);

/*
 * The size, on any thread: an image file may grow on its loop while loop 0 looks at all nodes.  The
 * node's own loop, and loop 0 while the graph is drained, read node->size.
 */
static inline int64_t block_node_size(const BlockNode *node)
{
    return __atomic_load_n(&node->size, __ATOMIC_RELAXED);
}

/*
 * Reads size and limits again from the driver and the children, with the graph drained; or only the
 * size, which may change while the node works.  Node's loop.
 */
int co_block_node_refresh(BlockNode *node);
int co_block_node_refresh_size(BlockNode *node);

#endif
