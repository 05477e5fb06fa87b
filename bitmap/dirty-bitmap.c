/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The named dirty bitmap: granules over a SparseBitmap; see dirty-bitmap.h. */
#include "bitmap/dirty-bitmap-int.h"

#include "util/error.h"

#include <inttypes.h>

static unsigned granularity_shift(const DirtyBitmap *bm)
{
    return __builtin_ctz(bm->granularity);
}

/* Granules that hold @bytes from the start of the disk, the last one perhaps cut. */
static uint64_t granules_up(const DirtyBitmap *bm, int64_t bytes)
{
    return ((uint64_t)bytes + bm->granularity - 1) >> granularity_shift(bm);
}

/* The byte at which granule @bit begins, but not past @end. */
static int64_t granule_offset(const DirtyBitmap *bm, uint64_t bit, int64_t end)
{
    uint64_t offset = bit << granularity_shift(bm);

    return MIN(offset, (uint64_t)end);
}

DirtyBitmap *dirty_bitmap_new(const char *name, int64_t size, uint32_t granularity)
{
    DirtyBitmap *bm = g_new0(DirtyBitmap, 1);

    g_assert(size >= 0);
    g_assert(granularity >= DIRTY_BITMAP_MIN_GRANULARITY &&
             granularity <= DIRTY_BITMAP_MAX_GRANULARITY && !(granularity & (granularity - 1)));
    bm->name = g_strdup(name);
    bm->size = size;
    bm->granularity = granularity;
    bm->bits = sparse_bitmap_new(granules_up(bm, size));
    return bm;
}

void dirty_bitmap_free(DirtyBitmap *bm)
{
    if (bm) {
        dirty_bitmap_free(bm->successor);
        sparse_bitmap_free(bm->bits);
        g_free(bm->name);
        g_free(bm);
    }
}

int64_t dirty_bitmap_count(const DirtyBitmap *bm)
{
    return granule_offset(bm, sparse_bitmap_count(bm->bits), INT64_MAX);
}

/* Makes dirty what [offset, offset + bytes), not empty and on the disk, touches. */
static void set_touched(DirtyBitmap *bm, int64_t offset, int64_t bytes)
{
    unsigned shift = granularity_shift(bm);
    uint64_t first = (uint64_t)offset >> shift;
    uint64_t last = (uint64_t)(offset + bytes - 1) >> shift;

    sparse_bitmap_set(bm->bits, first, last - first + 1);
}

void dirty_bitmap_mark(DirtyBitmap *bm, int64_t offset, int64_t bytes)
{
    DirtyBitmap *target = bm->successor ? bm->successor : bm;

    g_assert(offset >= 0 && bytes >= 0);
    if (target->disabled || offset >= target->size || bytes == 0) {
        return;
    }
    /* The gate refuses writes to the image of a read-only bitmap: its bits would be a lie. */
    g_assert(!target->readonly);
    set_touched(target, offset, MIN(bytes, target->size - offset));
}

static void check_range(const DirtyBitmap *bm, int64_t offset, int64_t bytes)
{
    g_assert(offset >= 0 && bytes >= 0 && offset <= bm->size && bytes <= bm->size - offset);
}

void dirty_bitmap_set(DirtyBitmap *bm, int64_t offset, int64_t bytes)
{
    check_range(bm, offset, bytes);
    g_assert(!bm->readonly);
    if (bytes > 0) {
        set_touched(bm, offset, bytes);
    }
}

void dirty_bitmap_reset(DirtyBitmap *bm, int64_t offset, int64_t bytes)
{
    uint64_t first, last;
    int64_t end;

    check_range(bm, offset, bytes);
    g_assert(!bm->readonly);
    end = offset + bytes;
    first = granules_up(bm, offset);
    last = end == bm->size ? granules_up(bm, end) : (uint64_t)end >> granularity_shift(bm);
    if (first < last) {
        sparse_bitmap_clear(bm->bits, first, last - first);
    }
}

bool dirty_bitmap_get(const DirtyBitmap *bm, int64_t offset)
{
    g_assert(offset >= 0);
    return offset < bm->size &&
           sparse_bitmap_get(bm->bits, (uint64_t)offset >> granularity_shift(bm));
}

typedef bool NextBit(const SparseBitmap *b, uint64_t start, uint64_t end, uint64_t *bit);

/* The first byte in [offset, end) whose granule @next_bit finds. */
static bool next_byte(const DirtyBitmap *bm, int64_t offset, int64_t end, NextBit *next_bit,
                      int64_t *out)
{
    uint64_t bit;

    g_assert(offset >= 0);
    end = MIN(end, bm->size);
    if (offset >= end || !next_bit(bm->bits, (uint64_t)offset >> granularity_shift(bm),
                                   granules_up(bm, end), &bit)) {
        return false;
    }
    *out = MAX(offset, granule_offset(bm, bit, end));
    return true;
}

bool dirty_bitmap_next_dirty(const DirtyBitmap *bm, int64_t offset, int64_t end, int64_t *out)
{
    return next_byte(bm, offset, end, sparse_bitmap_next_set, out);
}

bool dirty_bitmap_next_clean(const DirtyBitmap *bm, int64_t offset, int64_t end, int64_t *out)
{
    return next_byte(bm, offset, end, sparse_bitmap_next_clear, out);
}

bool dirty_bitmap_next_area(const DirtyBitmap *bm, int64_t offset, int64_t end, int64_t max_bytes,
                            int64_t *start, int64_t *bytes)
{
    int64_t first, clean;

    g_assert(max_bytes > 0);
    end = MIN(end, bm->size);
    if (!dirty_bitmap_next_dirty(bm, offset, end, &first)) {
        return false;
    }
    end = end - first > max_bytes ? first + max_bytes : end;
    if (!dirty_bitmap_next_clean(bm, first, end, &clean)) {
        clean = end;
    }
    *start = first;
    *bytes = clean - first;
    return true;
}

typedef struct AreaWalk {
    const DirtyBitmap *bm;
    int64_t offset, end;
    DirtyAreaFn *fn;
    void *opaque;
} AreaWalk;

static bool found_run(void *opaque, uint64_t start, uint64_t count)
{
    const AreaWalk *w = opaque;
    int64_t from = MAX(granule_offset(w->bm, start, w->end), w->offset);

    return w->fn(w->opaque, from, granule_offset(w->bm, start + count, w->end) - from);
}

void dirty_bitmap_each_area(const DirtyBitmap *bm, int64_t offset, int64_t end, DirtyAreaFn *fn,
                            void *opaque)
{
    AreaWalk w = {
        .bm = bm, .offset = offset, .end = MIN(end, bm->size), .fn = fn, .opaque = opaque};

    g_assert(offset >= 0);
    if (offset < w.end) {
        sparse_bitmap_each_run(bm->bits, (uint64_t)offset >> granularity_shift(bm),
                               granules_up(bm, w.end), found_run, &w);
    }
}

void dirty_bitmap_clear_all(DirtyBitmap *bm, SparseBitmap **undo)
{
    g_assert(!bm->readonly);
    if (undo) {
        *undo = bm->bits;
        bm->bits = sparse_bitmap_new(sparse_bitmap_size(*undo));
    } else {
        sparse_bitmap_clear_all(bm->bits);
    }
}

void dirty_bitmap_restore(DirtyBitmap *bm, SparseBitmap *bits)
{
    g_assert(sparse_bitmap_size(bits) == sparse_bitmap_size(bm->bits));
    sparse_bitmap_free(bm->bits);
    bm->bits = bits;
}

bool dirty_bitmap_merge(DirtyBitmap *dst, const DirtyBitmap *src, SparseBitmap **backup,
                        GError **errp)
{
    if (!dirty_bitmap_check(dst, DIRTY_BITMAP_DEFAULT, errp) ||
        !dirty_bitmap_check(src, DIRTY_BITMAP_ALLOW_RO, errp)) {
        return false;
    }
    if (dst->size != src->size) {
        return tm_error_set(errp,
                            "Bitmaps are of different sizes (destination size is %" PRId64
                            ", source size is %" PRId64 ") and can't be merged",
                            dst->size, src->size);
    }
    if (backup) {
        *backup = sparse_bitmap_copy(dst->bits);
    }
    if (dst != src) {
        sparse_bitmap_merge_scaled(dst->bits, src->bits,
                                   (int)granularity_shift(src) - (int)granularity_shift(dst));
    }
    return true;
}

void dirty_bitmap_truncate(DirtyBitmap *bm, int64_t size)
{
    g_assert(size >= 0);
    bm->size = size;
    sparse_bitmap_resize(bm->bits, granules_up(bm, size));
    if (bm->successor) {
        dirty_bitmap_truncate(bm->successor, size);
    }
}

char *dirty_bitmap_sha256(const DirtyBitmap *bm)
{
    return sparse_bitmap_sha256(bm->bits);
}

const SparseBitmap *dirty_bitmap_bits(const DirtyBitmap *bm)
{
    return bm->bits;
}
