/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by bitmaps-*.c, and by nobody else. */
#ifndef BLOCK_DRIVERS_QCOW2_BITMAPS_INT_H
#define BLOCK_DRIVERS_QCOW2_BITMAPS_INT_H

#include "block/drivers/qcow2/bitmap-directory.h"
#include "block/drivers/qcow2/bitmaps.h"

struct Qcow2Bitmaps {
    /* The directory as it is in the file; replaced as a whole, under info_lock, never changed. */
    GPtrArray *entries;
};

/* The entries, those of an image without a directory too; made where needed. */
GPtrArray *qcow2_bitmaps_list(BlockNode *node);

/* Replaces it (in memory). */
void qcow2_bitmaps_set(BlockNode *node, GPtrArray *entries);

/* The entry of that name, or NULL; *index, which may be NULL, is its place. */
Qcow2BitmapEntry *qcow2_bitmaps_find(const GPtrArray *entries, const char *name, guint *index);

/* A copy that can be changed, to be the next directory. */
GPtrArray *qcow2_bitmaps_copy(BlockNode *node);

/* Says of all persistent bitmaps whether they may change: that of a read-only image may not. */
void qcow2_bitmaps_set_readonly(BlockNode *node, bool readonly);

/*
 * Makes @entries (taken over) the image's directory, as P2 says; with them on disk (flushed) is
 * everything that was written before.  On failure the old one is in force.  Lock held.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_bitmaps_replace(BlockNode *node, GPtrArray *entries);

#endif
