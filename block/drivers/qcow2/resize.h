/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changing the size of the disk. */
#ifndef BLOCK_DRIVERS_QCOW2_RESIZE_H
#define BLOCK_DRIVERS_QCOW2_RESIZE_H

#include "block/drivers/qcow2/qcow2.h"

int qcow2_co_truncate(BlockNode *node, int64_t size, bool exact, PreallocMode prealloc,
                      GError **errp);

/*
 * Maps all of [offset, offset + bytes) to clusters in the file, without writing data; what was
 * unallocated reads as it did (the caller makes sure that nothing shows from below).
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_preallocate(BlockNode *node, int64_t offset, int64_t bytes,
                                                   PreallocMode mode, GError **errp);

#endif
