/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the gate calls drivers; for node-io.c, and for nobody else.  Ranges are checked, aligned and
 * tracked; what the driver has no operation for passes through in a filter.
 */
#ifndef BLOCK_DRIVER_IO_H
#define BLOCK_DRIVER_IO_H

#include "block/driver.h"

G_GNUC_WARN_UNUSED_RESULT int co_driver_read(BlockNode *node, int64_t offset, const IoSlice *data,
                                             unsigned flags);

/* With BLOCK_FUA a driver that does not know it is flushed afterwards. */
G_GNUC_WARN_UNUSED_RESULT int co_driver_write(BlockNode *node, int64_t offset, const IoSlice *data,
                                              unsigned flags);

/* Buffers of zeroes are written where the driver cannot, unless BLOCK_NO_FALLBACK forbids that. */
G_GNUC_WARN_UNUSED_RESULT int co_driver_write_zeroes(BlockNode *node, int64_t offset,
                                                     int64_t bytes, unsigned flags);

/* A driver that has no discard has done enough. */
G_GNUC_WARN_UNUSED_RESULT int co_driver_discard(BlockNode *node, int64_t offset, int64_t bytes);

#endif
