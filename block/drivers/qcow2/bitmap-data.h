/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table and the data clusters of one stored bitmap.
 *
 * The lock is held by all that allocate or free.  Nothing here is ever written in place: a bitmap
 * is saved into new clusters, and its old ones are freed when nothing refers to them any more (O2).
 */
#ifndef BLOCK_DRIVERS_QCOW2_BITMAP_DATA_H
#define BLOCK_DRIVERS_QCOW2_BITMAP_DATA_H

#include "bitmap/dirty-bitmap.h"
#include "block/drivers/qcow2/bitmap-directory.h"
#include "block/drivers/qcow2/qcow2.h"

/*
 * Reads the bits of @entry, which was checked, into @bitmap, which is clean.  *budget is how many
 * bytes of tables and data may still be read for this image: clusters can be named more than once,
 * so that the file's size alone bounds neither memory nor time.  0 or -errno: -EINVAL for a damaged
 * table, -EFBIG where the budget does not suffice; @bitmap is then undefined.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_bitmap_read(BlockNode *node, const Qcow2BitmapEntry *entry,
                                                   DirtyBitmap *bitmap, int64_t *budget);

/*
 * Writes the bits of @bitmap into new clusters and sets the entry's table.  On failure the new
 * clusters are given back, and the entry is as it was.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_bitmap_write(BlockNode *node, Qcow2BitmapEntry *entry,
                                                    const DirtyBitmap *bitmap);

/*
 * Frees table and data of a bitmap that nothing in the file refers to.  What is damaged is leaked:
 * its clusters may well be the disk's.
 */
void co_qcow2_bitmap_free(BlockNode *node, const Qcow2BitmapEntry *entry);

#endif
