/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The states of a dirty bitmap and its successor's life; see dirty-bitmap.h. */
#include "bitmap/dirty-bitmap-int.h"

#include "util/error.h"

const char *dirty_bitmap_name(const DirtyBitmap *bm)
{
    return bm->name;
}

int64_t dirty_bitmap_size(const DirtyBitmap *bm)
{
    return bm->size;
}

uint32_t dirty_bitmap_granularity(const DirtyBitmap *bm)
{
    return bm->granularity;
}

bool dirty_bitmap_enabled(const DirtyBitmap *bm)
{
    return !bm->disabled;
}

void dirty_bitmap_enable(DirtyBitmap *bm)
{
    bm->disabled = false;
}

void dirty_bitmap_disable(DirtyBitmap *bm)
{
    bm->disabled = true;
}

bool dirty_bitmap_recording(const DirtyBitmap *bm)
{
    return !bm->disabled || (bm->successor && !bm->successor->disabled);
}

bool dirty_bitmap_busy(const DirtyBitmap *bm)
{
    return bm->busy;
}

void dirty_bitmap_set_busy(DirtyBitmap *bm, bool busy)
{
    bm->busy = busy;
}

bool dirty_bitmap_readonly(const DirtyBitmap *bm)
{
    return bm->readonly;
}

void dirty_bitmap_set_readonly(DirtyBitmap *bm, bool readonly)
{
    bm->readonly = readonly;
}

bool dirty_bitmap_persistent(const DirtyBitmap *bm)
{
    return bm->persistent;
}

void dirty_bitmap_set_persistent(DirtyBitmap *bm, bool persistent)
{
    bm->persistent = persistent;
}

bool dirty_bitmap_inconsistent(const DirtyBitmap *bm)
{
    return bm->inconsistent;
}

void dirty_bitmap_set_inconsistent(DirtyBitmap *bm)
{
    g_assert(bm->persistent);
    bm->inconsistent = true;
    bm->disabled = true;
}

bool dirty_bitmap_skip_store(const DirtyBitmap *bm)
{
    return bm->skip_store;
}

void dirty_bitmap_set_skip_store(DirtyBitmap *bm, bool skip)
{
    bm->skip_store = skip;
}

bool dirty_bitmap_check(const DirtyBitmap *bm, unsigned flags, GError **errp)
{
    if ((flags & DIRTY_BITMAP_BUSY) && bm->busy) {
        return tm_error_set(errp,
                            "Bitmap '%s' is currently in use by another operation"
                            " and cannot be used",
                            bm->name);
    }
    if ((flags & DIRTY_BITMAP_RO) && bm->readonly) {
        return tm_error_set(errp, "Bitmap '%s' is readonly and cannot be modified", bm->name);
    }
    if ((flags & DIRTY_BITMAP_INCONSISTENT) && bm->inconsistent) {
        return tm_error_set(errp, "Bitmap '%s' is inconsistent and cannot be used", bm->name);
    }
    return true;
}

bool dirty_bitmap_create_successor(DirtyBitmap *bm, GError **errp)
{
    if (bm->busy) {
        return tm_error_set(errp, "Cannot create a successor for a bitmap that is in-use by an "
                                  "operation");
    }
    if (bm->successor) {
        return tm_error_set(errp, "Cannot create a successor for a bitmap that already has one");
    }
    bm->successor = dirty_bitmap_new(NULL, bm->size, bm->granularity);
    bm->successor->disabled = bm->disabled;
    bm->disabled = true;
    bm->busy = true;
    return true;
}

bool dirty_bitmap_has_successor(const DirtyBitmap *bm)
{
    return bm->successor;
}

const DirtyBitmap *dirty_bitmap_successor(const DirtyBitmap *bm)
{
    return bm->successor;
}

void dirty_bitmap_enable_successor(DirtyBitmap *bm)
{
    g_assert(bm->successor);
    dirty_bitmap_enable(bm->successor);
}

/* The end of a successor, whose bits the caller has dealt with. */
static void end_successor(DirtyBitmap *bm)
{
    bm->disabled = bm->successor->disabled;
    bm->busy = false;
    dirty_bitmap_free(bm->successor);
    bm->successor = NULL;
}

void dirty_bitmap_reclaim(DirtyBitmap *bm)
{
    g_assert(bm->successor);
    sparse_bitmap_merge(bm->bits, bm->successor->bits);
    end_successor(bm);
}

void dirty_bitmap_abdicate(DirtyBitmap *bm)
{
    SparseBitmap *bits = bm->bits;

    g_assert(bm->successor);
    bm->bits = bm->successor->bits;
    bm->successor->bits = bits;
    end_successor(bm);
}
