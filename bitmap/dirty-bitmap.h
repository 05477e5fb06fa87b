/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The dirty bitmap: which granules of a disk were written since some instant.
 *
 * The meaning of its states is that of QEMU (qemu/qemu: docs/interop/bitmaps.rst). Offsets and
 * sizes are bytes. A bit stands for a granule; the last one may be cut by the end of the disk.
 *
 * No locks, and nothing yields: the caller is on the loop of the bitmap's disk, or holds that disk
 * drained (clear, enable, disable, merge and the successor's life are ordered against guest
 * writes by drain: I1).
 */
#ifndef BITMAP_DIRTY_BITMAP_H
#define BITMAP_DIRTY_BITMAP_H

#include "bitmap/sparse-bitmap.h"

typedef struct DirtyBitmap DirtyBitmap;

#define DIRTY_BITMAP_MIN_GRANULARITY 512u
#define DIRTY_BITMAP_MAX_GRANULARITY (1u << 31)
#define DIRTY_BITMAP_MAX_NAME 1023 /* bytes: the limit of qcow2 and of QEMU */

/* A bitmap without a dirty granule, enabled, of a disk of @size bytes. @name NULL: anonymous.
 * @granularity is a power of two within the limits above (asserted: the caller has checked what
 * the user gave). */
DirtyBitmap *dirty_bitmap_new(const char *name, int64_t size, uint32_t granularity);

/* NULL is allowed. A successor goes with its parent. */
void dirty_bitmap_free(DirtyBitmap *bm);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirtyBitmap, dirty_bitmap_free)

const char *dirty_bitmap_name(const DirtyBitmap *bm); /* NULL: anonymous; owned by the bitmap */
int64_t dirty_bitmap_size(const DirtyBitmap *bm);     /* of the disk */
uint32_t dirty_bitmap_granularity(const DirtyBitmap *bm);

/* Dirty bytes, as QMP's "count" gives them: whole granules, even the last one if the end of the
 * disk cuts it; without the successor's. O(1). */
int64_t dirty_bitmap_count(const DirtyBitmap *bm);

/* --- States --- */

/* Whether the bitmap itself records guest writes; false while it has a successor. */
bool dirty_bitmap_enabled(const DirtyBitmap *bm);
/* Both act on the bitmap itself: the caller has checked that it is not busy. */
void dirty_bitmap_enable(DirtyBitmap *bm);
void dirty_bitmap_disable(DirtyBitmap *bm);

/* QMP's "recording": the bitmap or its successor records guest writes. */
bool dirty_bitmap_recording(const DirtyBitmap *bm);

/* An operation uses it: QMP must leave it alone. */
bool dirty_bitmap_busy(const DirtyBitmap *bm);
void dirty_bitmap_set_busy(DirtyBitmap *bm, bool busy);

/* Neither the bitmap nor its image may change. */
bool dirty_bitmap_readonly(const DirtyBitmap *bm);
void dirty_bitmap_set_readonly(DirtyBitmap *bm, bool readonly);

/* Is to be stored when the image is closed. */
bool dirty_bitmap_persistent(const DirtyBitmap *bm);
void dirty_bitmap_set_persistent(DirtyBitmap *bm, bool persistent);

/* Persistent, but its stored bits cannot be trusted: of no use but to be removed. Once set it
 * stays; it implies disabled. Only a persistent bitmap can be (asserted). */
bool dirty_bitmap_inconsistent(const DirtyBitmap *bm);
void dirty_bitmap_set_inconsistent(DirtyBitmap *bm);

/* Persistent, but leave it out at the next store (somebody else stores it). */
bool dirty_bitmap_skip_store(const DirtyBitmap *bm);
void dirty_bitmap_set_skip_store(DirtyBitmap *bm, bool skip);

/* What dirty_bitmap_check() refuses. */
typedef enum DirtyBitmapCheck {
    DIRTY_BITMAP_BUSY = 1 << 0,
    DIRTY_BITMAP_RO = 1 << 1,
    DIRTY_BITMAP_INCONSISTENT = 1 << 2,
    DIRTY_BITMAP_DEFAULT = DIRTY_BITMAP_BUSY | DIRTY_BITMAP_RO | DIRTY_BITMAP_INCONSISTENT,
    DIRTY_BITMAP_ALLOW_RO = DIRTY_BITMAP_BUSY | DIRTY_BITMAP_INCONSISTENT,
} DirtyBitmapCheck;

/* Whether the bitmap is in none of the states in @flags; else an error with QEMU's words (the
 * hint QEMU prints behind them for an inconsistent bitmap is not part of a QMP error). */
bool dirty_bitmap_check(const DirtyBitmap *bm, unsigned flags, GError **errp);

/* --- Bits --- */

/* A guest wrote [offset, offset + bytes): makes every granule it touches dirty, in the successor
 * if there is one, unless that (or the bitmap) is disabled. What lies past the end of the disk is
 * ignored. The hot path: some nanoseconds. */
void dirty_bitmap_mark(DirtyBitmap *bm, int64_t offset, int64_t bytes);

/* Makes dirty every granule that the range touches, in the bitmap itself, enabled or not. The
 * range must lie on the disk. */
void dirty_bitmap_set(DirtyBitmap *bm, int64_t offset, int64_t bytes);

/* Makes clean every granule that the range covers whole, in the bitmap itself. A granule only
 * partly covered stays as it is: the rest of it may be dirty (I1). A range that reaches the end
 * of the disk covers the last granule whole if it begins at or before it. */
void dirty_bitmap_reset(DirtyBitmap *bm, int64_t offset, int64_t bytes);

/* Whether the granule at @offset is dirty; false past the end of the disk. */
bool dirty_bitmap_get(const DirtyBitmap *bm, int64_t offset);

/* The first dirty (clean) byte in [offset, end); false, *out untouched, if there is none. @end may
 * lie past the end of the disk; past that end there is neither. */
bool dirty_bitmap_next_dirty(const DirtyBitmap *bm, int64_t offset, int64_t end, int64_t *out);
bool dirty_bitmap_next_clean(const DirtyBitmap *bm, int64_t offset, int64_t end, int64_t *out);

/* The first dirty area in [offset, end), cut at @end, at the end of the disk and at @max_bytes
 * (positive; INT64_MAX for no limit; the cut is exact, not rounded to granules). */
bool dirty_bitmap_next_area(const DirtyBitmap *bm, int64_t offset, int64_t end, int64_t max_bytes,
                            int64_t *start, int64_t *bytes);

/* A dirty area, as large as it can be; false: no more is wanted. */
typedef bool DirtyAreaFn(void *opaque, int64_t start, int64_t bytes);

/* Calls fn(opaque) for each dirty area in [offset, end), in order, cut at @end and at the end of
 * the disk, until it returns false: where there are many, much cheaper than to look for one after
 * the other. */
void dirty_bitmap_each_area(const DirtyBitmap *bm, int64_t offset, int64_t end, DirtyAreaFn *fn,
                            void *opaque);

/* --- Whole bitmaps; each can be undone, for transactions --- */

/* Makes all clean. *undo (if not NULL) receives the bits for dirty_bitmap_restore(). */
void dirty_bitmap_clear_all(DirtyBitmap *bm, SparseBitmap **undo);

/* Makes dirty in @dst what is dirty in @src (it may be @dst itself), whatever their granularities;
 * the sizes of the disks must be equal. *backup (if not NULL) receives the bits as they were.
 * Checks both bitmaps as QEMU does (dst: DEFAULT, src: ALLOW_RO); on error nothing is touched. */
bool dirty_bitmap_merge(DirtyBitmap *dst, const DirtyBitmap *src, SparseBitmap **backup,
                        GError **errp);

/* Puts back the bits that clear_all or merge has saved; takes ownership of them. */
void dirty_bitmap_restore(DirtyBitmap *bm, SparseBitmap *bits);

/* --- Successor --- */

/* Freezes the bitmap for a job: it becomes busy and disabled, and guest writes go to a successor,
 * which is enabled if the bitmap was. Fails if the bitmap is busy. */
bool dirty_bitmap_create_successor(DirtyBitmap *bm, GError **errp);
bool dirty_bitmap_has_successor(const DirtyBitmap *bm);

/* The successor (for queries: it has no name and is recording or not by itself), or NULL. */
const DirtyBitmap *dirty_bitmap_successor(const DirtyBitmap *bm);

/* Lets the successor record even though the bitmap was disabled, as a job needs that must know
 * what changed during it. */
void dirty_bitmap_enable_successor(DirtyBitmap *bm);

/* The job failed: the bitmap is again what it was, and what the guest wrote meanwhile is added
 * (I3). Not busy any more; enabled if the successor was. */
void dirty_bitmap_reclaim(DirtyBitmap *bm);

/* The job succeeded: the bitmap's bits are given up and the successor's take their place. The
 * object, its name and its flags stay. Not busy any more; enabled if the successor was. */
void dirty_bitmap_abdicate(DirtyBitmap *bm);

/* --- */

/* The disk has a new size. As in QEMU the new part of a grown disk is clean (what it reads as
 * zeroes is no guest write), and a shrunk disk's last granule keeps its bit. */
void dirty_bitmap_truncate(DirtyBitmap *bm, int64_t size);

/* What x-debug-block-dirty-bitmap-sha256 gives; freed by the caller. */
char *dirty_bitmap_sha256(const DirtyBitmap *bm);

/* The bits, one a granule; valid until the bitmap is changed as a whole. */
const SparseBitmap *dirty_bitmap_bits(const DirtyBitmap *bm);

#endif
