/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Persistent bitmaps of the image: the places where the core calls for them. */
#ifndef BLOCK_DRIVERS_QCOW2_BITMAPS_H
#define BLOCK_DRIVERS_QCOW2_BITMAPS_H

#include "block/drivers/qcow2/qcow2.h"

/*
 * At the end of opening: makes the DirtyBitmaps of node->bitmaps from the directory, and marks those
 * in the image in use where it is writable.  A damaged directory is no error: it is reported.
 */
bool co_qcow2_bitmaps_load(BlockNode *node, GError **errp);

/* At close, before the caches are written: stores the persistent bitmaps, in-use cleared. */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_bitmaps_store(BlockNode *node);

/* Frees s->bitmaps. */
void qcow2_bitmaps_free(BlockNode *node);

#endif
