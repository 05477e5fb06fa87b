/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The requests of the driver (io.c), for its table, and reading below the map for other parts. */
#ifndef BLOCK_DRIVERS_QCOW2_IO_H
#define BLOCK_DRIVERS_QCOW2_IO_H

#include "block/drivers/qcow2/qcow2.h"

int qcow2_co_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags);
int qcow2_co_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags);
int qcow2_co_write_zeroes(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags);
int qcow2_co_discard(BlockNode *node, int64_t offset, int64_t bytes);
int qcow2_co_flush(BlockNode *node);
int qcow2_co_block_status(BlockNode *node, bool want_zero, int64_t offset, int64_t bytes,
                          BlockStatus *status);

/* Reads from the backing file; behind its end, or without one, zeroes. */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_read_backing(BlockNode *node, int64_t offset,
                                                    const IoSlice *data);

/* Reads host clusters of guest data (image file or data file); behind its end zeroes. */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_read_host(BlockNode *node, int64_t host,
                                                 const IoSlice *data);
/* Writes them; grows the file. Checks overlaps with metadata. */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_write_host(BlockNode *node, int64_t host,
                                                  const IoSlice *data);

#endif
