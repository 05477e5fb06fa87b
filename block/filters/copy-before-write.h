/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The copy-before-write filter, for those who use it from inside: snapshot-access and backup jobs.
 */
#ifndef BLOCK_FILTERS_COPY_BEFORE_WRITE_H
#define BLOCK_FILTERS_COPY_BEFORE_WRITE_H

#include "block/copy/leaver.h"

/* The copy that the node makes; NULL if it is no copy-before-write filter. */
BlockCopy *cbw_node_copy(const BlockNode *node);

/* The leaver of a copy-before-write filter; NULL: it has none. */
Leaver *cbw_node_leaver(const BlockNode *node);

/* How a job wants its filter to work. */
typedef struct CbwJobOptions {
    const char *name;          /* of the node; NULL: made up */
    bool no_copier;            /* only what is saved is moved, and the target is read meanwhile */
    bool discard_source;       /* the job discards what it has copied */
    uint64_t min_cluster_size; /* 0: the default */
    size_t staging_bytes;      /* 0: the default */
    int64_t room_limit_ns;     /* 0: the default */
    const char *job_id;        /* for events */
    const DirtyBitmap *bitmap; /* what to copy; NULL: all */
} CbwJobOptions;

/*
 * Opens a filter between @source and @target, not yet inserted above @source; the caller owns a
 * reference.  A save that fails fails the copy, not the guest.  Loop 0, control lock held, drained.
 */
BlockNode *co_cbw_open_for_job(BlockNode *source, BlockNode *target, const CbwJobOptions *options,
                               GError **errp);

#endif
