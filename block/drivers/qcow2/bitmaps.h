/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Persistent bitmaps of the image (qemu/qemu, docs/interop/qcow2.rst, "Bitmaps").
 *
 * Invariants
 *   P1  While a bitmap is live in memory of a writable image, the file's copy is flagged in use (or
 * is not there yet): after a crash it is inconsistent and never a lie. P2  Directory, tables and
 * data are never changed in place.  The new ones are written, their refcounts too, and flushed;
 * then the header changes from the old directory to the new one in one write, is flushed, and then
 * the old clusters are freed. P3  A bitmap that cannot be used (damaged, of an unknown kind) is
 * kept in the file as it is, and can be removed; it stops neither the disk nor other bitmaps.
 */
#ifndef BLOCK_DRIVERS_QCOW2_BITMAPS_H
#define BLOCK_DRIVERS_QCOW2_BITMAPS_H

#include "block/drivers/qcow2/qcow2.h"

/*
 * At the end of opening (no lock held): makes the DirtyBitmaps of node->bitmaps from the directory,
 * and marks those in the image in use where it is writable.  A damaged directory is no error: it is
 * reported, and a writable image forgets it, for nobody keeps it up to date.
 */
bool co_qcow2_bitmaps_load(BlockNode *node, GError **errp);

/*
 * At close, before the caches are written, and before the image becomes read-only (no lock held):
 * stores the persistent bitmaps, in-use cleared.  They are read-only from then on; a second call
 * does nothing.
 * A bitmap that cannot be stored is inconsistent in the file, with a warning; the others are
 * stored all the same.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_bitmaps_store(BlockNode *node);

/* A read-only image becomes writable: flags bitmaps in use and lets them record again. */
bool co_qcow2_bitmaps_activate(BlockNode *node, GError **errp);

/* Frees s->bitmaps. */
void qcow2_bitmaps_free(BlockNode *node);

/* May the disk be resized?  Not while there are bitmaps that cannot follow (QEMU's words). */
bool qcow2_bitmaps_check_resize(const BlockNode *node, GError **errp);

/* The directory's entries as they are in the file; of Qcow2BitmapEntry, or NULL.  For check. */
const GPtrArray *qcow2_bitmaps_entries(const BlockNode *node);

/* For the BlockDriver. */
extern const BlockBitmapOps qcow2_bitmap_ops;

#endif
