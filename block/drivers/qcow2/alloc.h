/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes that change the map.
 *
 * A cluster that is being allocated (or whose entry is being changed) is on the list of
 * allocations in flight until its L2 entry is in the cache; who wants the same guest cluster waits
 * for that one and looks at the map again.
 */
#ifndef BLOCK_DRIVERS_QCOW2_ALLOC_H
#define BLOCK_DRIVERS_QCOW2_ALLOC_H

#include "block/drivers/qcow2/map.h"

struct Qcow2Allocation {
    int64_t guest, bytes; /* whole clusters */
    CoQueue waiters;
    Qcow2Allocation *next, **prev;
};

/* Is some allocation in flight in that guest range? */
bool qcow2_allocation_overlaps(const Qcow2State *s, int64_t guest, int64_t bytes);

/*
 * Waits until no allocation in flight overlaps the guest range; then puts @allocation (its guest
 * and bytes are set, whole clusters) on the list, without a yield in between.  No lock held.
 */
void co_qcow2_allocation_begin(Qcow2State *s, Qcow2Allocation *allocation);
void qcow2_allocation_end(Qcow2Allocation *allocation);

/*
 * Writes @data at @offset where that is not (all) allocated or may not be written in place: as
 * much of it as one allocation covers (*done, more than 0).
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_write_alloc(BlockNode *node, int64_t offset,
                                                   const IoSlice *data, int64_t *done);

/*
 * Points guest cluster @offset (aligned) to a compressed cluster that lies at @host (all @bytes of
 * it written; allocated by co_qcow2_alloc_bytes()), and frees what it pointed to.  The caller has
 * an allocation on the list for it.  Lock held.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_link_compressed(BlockNode *node, int64_t offset,
                                                       int64_t host, int64_t bytes);

/*
 * Makes the range read as zeroes by zero clusters (zero.c).  -ENOTSUP where that cannot be: a
 * version 2 image with a backing file, or a part of a cluster that holds something else.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_zero_clusters(BlockNode *node, int64_t offset,
                                                     int64_t bytes, unsigned flags);
/*
 * Gives up whole clusters (the range is aligned).
 * @full: back to unallocated even where that shows the backing file; else discarded clusters read
 * as zeroes where the format has a way to say so.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_discard_clusters(BlockNode *node, int64_t offset,
                                                        int64_t bytes, Qcow2Discard type,
                                                        bool full);

#endif
