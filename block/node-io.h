/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The gate: every request to a node passes here, from exports and jobs, and from the drivers above.
 *
 * The gate checks range, alignment (it pads what is unaligned), permissions and flags, tracks the
 * request, serialises where asked, runs the hooks, marks the dirty bitmaps (I1), splits by the
 * driver's limits, and adds the flush where the driver has no FUA.
 *
 * All run on child->node->loop, in a coroutine, and yield.  They return 0 or -errno: -EIO for
 * ranges outside of the node, -EPERM for a missing permission or a read-only node, else the
 * driver's.
 */
#ifndef BLOCK_NODE_IO_H
#define BLOCK_NODE_IO_H

#include "block/child.h"
#include "block/driver.h"

G_GNUC_WARN_UNUSED_RESULT int co_block_read(BlockChild *child, int64_t offset, const IoSlice *data,
                                            unsigned flags);
G_GNUC_WARN_UNUSED_RESULT int co_block_write(BlockChild *child, int64_t offset, const IoSlice *data,
                                             unsigned flags);
G_GNUC_WARN_UNUSED_RESULT int co_block_write_zeroes(BlockChild *child, int64_t offset,
                                                    int64_t bytes, unsigned flags);
G_GNUC_WARN_UNUSED_RESULT int co_block_discard(BlockChild *child, int64_t offset, int64_t bytes);
G_GNUC_WARN_UNUSED_RESULT int co_block_flush(BlockChild *child);

/*
 * Lets the host copy from one node to another, without a look at the data.  Any error may mean that
 * only this way is barred (-ENOTSUP: it is, on one of the nodes below), and says nothing of which
 * end failed; part of the range may have been written then.
 */
G_GNUC_WARN_UNUSED_RESULT int co_block_copy_range(BlockChild *source, int64_t source_offset,
                                                  BlockChild *target, int64_t target_offset,
                                                  int64_t bytes);
/* Its second half, for drivers: @source is where the bytes are, and its request is tracked. */
G_GNUC_WARN_UNUSED_RESULT int co_block_copy_range_to(BlockNode *source, int64_t source_offset,
                                                     BlockChild *target, int64_t target_offset,
                                                     int64_t bytes);

/* One buffer. */
G_GNUC_WARN_UNUSED_RESULT int co_block_read_buf(BlockChild *child, int64_t offset, void *buf,
                                                size_t len);
G_GNUC_WARN_UNUSED_RESULT int co_block_write_buf(BlockChild *child, int64_t offset, const void *buf,
                                                 size_t len, unsigned flags);

/*
 * What is known of the bytes from @offset, through filters and formats: DATA and ZERO as seen by a
 * reader, OFFSET_VALID with the lowest node that stores the bytes raw.  status->bytes is 1 to
 * @bytes; at the end of the node 0 with offset == size.  @want_zero as in the driver's operation.
 */
G_GNUC_WARN_UNUSED_RESULT int co_block_status(BlockChild *child, bool want_zero, int64_t offset,
                                              int64_t bytes, BlockStatus *status);

/*
 * The same for the layers above @base only (a node of the backing chain, exclusive; NULL: all):
 * ALLOCATED says whether one of them has the bytes, status->depth (from 1) which.
 */
G_GNUC_WARN_UNUSED_RESULT int co_block_status_above(BlockChild *child, const BlockNode *base,
                                                    bool want_zero, int64_t offset, int64_t bytes,
                                                    BlockStatus *status);

/* Flushes what the node itself holds and, below it, every child that it writes to. */
G_GNUC_WARN_UNUSED_RESULT int co_gate_flush(BlockNode *node);

/*
 * Sets the size.  Needs BLOCK_PERM_RESIZE.  Bitmaps and parents are told.
 */
bool co_block_truncate(BlockChild *child, int64_t size, bool exact, PreallocMode prealloc,
                       GError **errp);

/* A buffer that suits the node's O_DIRECT alignment; free with free(). NULL when out of memory. */
void *block_alloc(const BlockNode *node, size_t len);

#endif
