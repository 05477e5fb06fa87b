/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Compressed clusters. */
#ifndef BLOCK_DRIVERS_QCOW2_COMPRESS_H
#define BLOCK_DRIVERS_QCOW2_COMPRESS_H

#include "block/drivers/qcow2/qcow2.h"

/*
 * Reads data->len bytes at @skip within the cluster that L2 entry @entry (COMPRESSED set)
 * describes, whose place the caller has on s->host_io.  No lock; inflates in a worker.  -EIO where
 * the compressed data is damaged.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_read_compressed(BlockNode *node, uint64_t entry,
                                                       int64_t skip, const IoSlice *data);

/*
 * A write with BLOCK_COMPRESSED: whole clusters (the last one of the disk may be short) compressed,
 * those that do not get smaller, and parts of clusters, plainly.  -ENOTSUP with a data file.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_write_compressed(BlockNode *node, int64_t offset,
                                                        const IoSlice *data);

#endif
