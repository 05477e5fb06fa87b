/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Storing, adding and removing persistent bitmaps; see bitmaps.h. */
#include <errno.h>

#include "block/drivers/qcow2/bitmap-data.h"
#include "block/drivers/qcow2/bitmaps-int.h"
#include "block/node-bitmaps.h"
#include "util/error.h"
#include "util/range.h"

/* --- storing --- */

static bool is_to_be_stored(const DirtyBitmap *bitmap)
{
    return dirty_bitmap_persistent(bitmap) && !dirty_bitmap_skip_store(bitmap) &&
           !dirty_bitmap_inconsistent(bitmap) && !dirty_bitmap_readonly(bitmap);
}

/* The entry for a bitmap of that name: extra data that it had stays with it. */
static Qcow2BitmapEntry *new_entry(const Qcow2BitmapEntry *old, const DirtyBitmap *bitmap)
{
    unsigned granularity_bits = __builtin_ctz(dirty_bitmap_granularity(bitmap));
    Qcow2BitmapEntry *entry =
        old ? qcow2_bitmap_entry_copy(old)
            : qcow2_bitmap_entry_new(dirty_bitmap_name(bitmap), granularity_bits);

    entry->granularity_bits = granularity_bits;
    entry->flags = entry->extra_len ? QCOW2_BITMAP_EXTRA_COMPATIBLE : 0;
    entry->flags |= dirty_bitmap_enabled(bitmap) ? QCOW2_BITMAP_AUTO : 0;
    return entry;
}

/*
 * Writes one bitmap and puts it into @entries; the entry that was there goes to @replaced.  One
 * that fails stays as it is in the file: in use, or not there.
 */
static int co_store_one(BlockNode *node, const DirtyBitmap *bitmap, GPtrArray *entries,
                        GPtrArray *replaced)
{
    guint index;
    Qcow2BitmapEntry *old = qcow2_bitmaps_find(entries, dirty_bitmap_name(bitmap), &index);
    Qcow2BitmapEntry *entry = new_entry(old, bitmap);
    int ret = co_qcow2_bitmap_write(node, entry, bitmap);

    if (ret < 0) {
        g_warning("Node '%s': Failed to write bitmap '%s' to file: %s", node->name,
                  dirty_bitmap_name(bitmap), g_strerror(-ret));
        qcow2_bitmap_entry_free(entry);
        return ret;
    }
    if (old) {
        g_ptr_array_add(replaced, old);
        entries->pdata[index] = entry;
    } else {
        g_ptr_array_add(entries, entry);
    }
    return 0;
}

static int co_store_all(BlockNode *node, GPtrArray *entries, GPtrArray *replaced, bool *stored)
{
    int result = 0;

    *stored = false;
    for (guint i = 0; i < node->bitmaps->len; i++) {
        const DirtyBitmap *bitmap = node->bitmaps->pdata[i];
        int ret = 0;

        if (is_to_be_stored(bitmap)) {
            ret = co_store_one(node, bitmap, entries, replaced);
            *stored |= ret == 0;
        }
        result = result ? result : ret;
    }
    return result;
}

static void co_free_all(BlockNode *node, const GPtrArray *entries)
{
    for (guint i = 0; i < entries->len; i++) {
        co_qcow2_bitmap_free(node, entries->pdata[i]);
    }
}

static int co_store(BlockNode *node)
{
    g_autoptr(GPtrArray) replaced = qcow2_bitmap_directory_new();
    GPtrArray *entries = qcow2_bitmaps_copy(node);
    bool stored;
    int result = co_store_all(node, entries, replaced, &stored), ret;

    if (!stored) {
        g_ptr_array_unref(entries);
        return result;
    }
    ret = co_qcow2_bitmaps_replace(node, entries);
    if (ret == 0) {
        co_free_all(node, replaced);
    } else {
        /* The header may be on disk or not: the new clusters are leaked rather than used again. */
        g_warning("Node '%s': Failed to update bitmap extension: %s", node->name, g_strerror(-ret));
    }
    return result ? result : ret;
}

static bool anything_to_store(const BlockNode *node)
{
    for (guint i = 0; i < node->bitmaps->len; i++) {
        if (is_to_be_stored(node->bitmaps->pdata[i])) {
            return true;
        }
    }
    return false;
}

int co_qcow2_bitmaps_store(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    int ret = 0;

    if (!qcow2_writable(node)) {
        return 0;
    }
    if (anything_to_store(node)) {
        co_mutex_lock(&s->lock);
        ret = co_store(node);
        co_mutex_unlock(&s->lock);
    }
    qcow2_bitmaps_set_readonly(node, true);
    return ret;
}

/* --- adding --- */

static bool check_new(const BlockNode *node, const char *name, uint32_t granularity, GError **errp)
{
    const Qcow2State *s = qcow2_state(node);
    unsigned granularity_bits = __builtin_ctz(granularity);
    int64_t bytes = units_covering(units_covering(node->size, granularity), 8);

    if (s->header.version < 3) {
        return tm_error_set(errp, "Cannot store dirty bitmaps in qcow2 v2 files");
    }
    if (granularity_bits > QCOW2_MAX_BITMAP_GRANULARITY_BITS) {
        return tm_error_set(errp, "Granularity exceeds maximum (%llu bytes)",
                            1ULL << QCOW2_MAX_BITMAP_GRANULARITY_BITS);
    }
    if (bytes > QCOW2_MAX_BITMAP_BYTES || bytes / s->cluster_size > QCOW2_MAX_BITMAP_TABLE) {
        return tm_error_set(errp, "Too much space will be occupied by the bitmap. Use larger "
                                  "granularity");
    }
    if (strlen(name) > QCOW2_MAX_BITMAP_NAME) {
        return tm_error_set(errp, "Name length exceeds maximum (%u characters)",
                            QCOW2_MAX_BITMAP_NAME);
    }
    return true;
}

/* Those in the file that are not shown take their place there too. */
static bool check_room(const BlockNode *node, const char *name, GError **errp)
{
    const GPtrArray *entries = qcow2_bitmaps_entries(node);
    size_t count = 1 + (entries ? entries->len : 0);
    size_t size = qcow2_bitmap_entry_size(strlen(name), 0) +
                  (entries ? qcow2_bitmap_directory_size(entries) : 0);

    for (guint i = 0; i < node->bitmaps->len; i++) {
        const DirtyBitmap *bitmap = node->bitmaps->pdata[i];

        if (dirty_bitmap_persistent(bitmap) &&
            !(entries && qcow2_bitmaps_find(entries, dirty_bitmap_name(bitmap), NULL))) {
            count++;
            size += qcow2_bitmap_entry_size(strlen(dirty_bitmap_name(bitmap)), 0);
        }
    }
    if (count > QCOW2_MAX_BITMAPS) {
        return tm_error_set(errp, "Maximum number of persistent bitmaps is already reached");
    }
    if (size > QCOW2_MAX_BITMAP_DIRECTORY_BYTES) {
        return tm_error_set(errp, "Not enough space in the bitmap directory");
    }
    return true;
}

static bool can_store(const BlockNode *node, const char *name, uint32_t granularity, GError **errp)
{
    if (block_node_bitmap_find(node, name)) {
        return tm_error_set(errp, "Bitmap already exists: %s", name);
    }
    if (!check_new(node, name, granularity, errp) || !check_room(node, name, errp)) {
        g_prefix_error(errp, "Can't make bitmap '%s' persistent in '%s': ", name, node->name);
        return false;
    }
    return true;
}

/* --- removing --- */

/* All of that name: a damaged directory may have several. */
static GPtrArray *take_named(GPtrArray *entries, const char *name)
{
    GPtrArray *taken = qcow2_bitmap_directory_new();
    guint index;

    while (qcow2_bitmaps_find(entries, name, &index)) {
        g_ptr_array_add(taken, g_ptr_array_steal_index(entries, index));
    }
    return taken;
}

static int co_remove_locked(BlockNode *node, const char *name)
{
    GPtrArray *entries = qcow2_bitmaps_copy(node);
    g_autoptr(GPtrArray) taken = take_named(entries, name);
    int ret;

    if (taken->len == 0) {
        g_ptr_array_unref(entries);
        return 0; /* it was added since the image was opened */
    }
    ret = co_qcow2_bitmaps_replace(node, entries);
    if (ret == 0) {
        co_free_all(node, taken);
    }
    return ret;
}

static bool co_remove(BlockNode *node, const char *name, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    int ret;

    co_mutex_lock(&s->lock);
    ret = co_remove_locked(node, name);
    co_mutex_unlock(&s->lock);
    return ret == 0 || tm_error_set_errno(errp, -ret, "Failed to update bitmap extension");
}

const BlockBitmapOps qcow2_bitmap_ops = {
    .can_store = can_store,
    .co_remove = co_remove,
    .co_store = co_qcow2_bitmaps_store,
    .co_activate = co_qcow2_bitmaps_activate,
};
