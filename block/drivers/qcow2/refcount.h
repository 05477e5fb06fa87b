/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Refcounts: which clusters of the image file are in use.
 *
 * All with the state's lock held, but for what is said to need none.  Refcounts of clusters in an
 * external data file do not exist: nobody asks for them.
 */
#ifndef BLOCK_DRIVERS_QCOW2_REFCOUNT_H
#define BLOCK_DRIVERS_QCOW2_REFCOUNT_H

#include "block/drivers/qcow2/qcow2.h"

/* Loads the refcount table; at open. */
bool co_qcow2_refcount_open(BlockNode *node, GError **errp);
void qcow2_refcount_close(BlockNode *node);

/* The refcount of cluster number @cluster (offset >> cluster_bits). */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_refcount_get(BlockNode *node, int64_t cluster,
                                                    uint64_t *refcount);

/*
 * The number behind the last cluster before number @end that is in use; what cannot be looked at
 * counts as used.  Goes block by block, and lets others run.  Lock held.
 */
int64_t co_qcow2_used_end(BlockNode *node, int64_t end);

/*
 * The refcount block of cluster number @cluster, pinned; NULL where there is none (all its counts
 * are 0).
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_refblock_get(BlockNode *node, int64_t cluster,
                                                    Qcow2Table **block);

/*
 * There is a refcount block for the @count clusters from @cluster on: 0 where there was already,
 * 1 where clusters had to be allocated for it (so what looked free may be in use now).
 * (refcount-grow.c)
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_refblocks_make(BlockNode *node, int64_t cluster,
                                                      int64_t count);

/* The first free cluster at or behind @cluster, with nobody's I/O in flight on it; or -errno. */
G_GNUC_WARN_UNUSED_RESULT int64_t co_qcow2_find_free(BlockNode *node, int64_t cluster);

/*
 * Tells the file of what was freed, once that is on disk: to be called after the metadata was
 * written and flushed.
 */
void co_qcow2_pass_discards(BlockNode *node);

/* The cluster at @offset was freed; the file is to be told of it. */
void qcow2_discard_later(Qcow2State *s, int64_t offset);

/* Reads and writes one entry of a refcount block in memory (any width); no lock, no checks. */
uint64_t qcow2_refcount_entry(const void *block, unsigned bits, uint64_t index);
void qcow2_refcount_set_entry(void *block, unsigned bits, uint64_t index, uint64_t refcount);

/*
 * Adds @delta (1 or -1) to the refcounts of all clusters that [offset, offset + bytes) touches.
 * Where a count falls to 0 the cluster is free again, and the file may be told by @type.  Does
 * what is needed for O2.  On failure what was done is undone as far as possible.  -EINVAL where a
 * count would leave its range.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_refcount_add(BlockNode *node, int64_t offset, int64_t bytes,
                                                    int delta, Qcow2Discard type);

/*
 * Allocates a contiguous run of clusters for @bytes, with refcount 1: its offset, or -errno
 * (-ENOSPC, -EFBIG).  Their content is undefined.  Does what is needed for O1 of what an L2 entry
 * refers to; for other references call co_qcow2_cache_write(refcount_cache) and flush before.
 */
G_GNUC_WARN_UNUSED_RESULT int64_t co_qcow2_alloc_clusters(BlockNode *node, int64_t bytes);

/*
 * Allocates clusters exactly from @offset on, as many as are free there, at most @clusters: how
 * many (0: none), or -errno.
 */
G_GNUC_WARN_UNUSED_RESULT int64_t co_qcow2_alloc_clusters_at(BlockNode *node, int64_t offset,
                                                             int64_t clusters);

/*
 * Allocates @bytes (at most a cluster) for a compressed cluster, packed behind the last one: its
 * offset or -errno.  Refcounts of the clusters it touches go up by one each.
 */
G_GNUC_WARN_UNUSED_RESULT int64_t co_qcow2_alloc_bytes(BlockNode *node, int64_t bytes);

/*
 * Gives clusters back (refcount - 1); an error leaks them, which is reported and not returned.
 */
void co_qcow2_free_clusters(BlockNode *node, int64_t offset, int64_t bytes, Qcow2Discard type);

/* Gives back what an L2 entry (standard or compressed) refers to. */
void co_qcow2_free_any(BlockNode *node, uint64_t l2_entry, Qcow2Discard type);

#endif
