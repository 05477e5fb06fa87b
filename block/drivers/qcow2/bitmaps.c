/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The image's list of bitmaps, and how it is replaced in the file; see bitmaps.h. */
#include "block/drivers/qcow2/bitmaps-int.h"

#include <errno.h>

#include "block/drivers/qcow2/refcount.h"
#include "block/node-bitmaps.h"
#include "util/error.h"

GPtrArray *qcow2_bitmaps_list(BlockNode *node)
{
    if (!qcow2_state(node)->bitmaps) {
        qcow2_bitmaps_set(node, qcow2_bitmap_directory_new());
    }
    return qcow2_state(node)->bitmaps->entries;
}

void qcow2_bitmaps_set(BlockNode *node, GPtrArray *entries)
{
    Qcow2State *s = qcow2_state(node);
    GPtrArray *old = NULL;

    g_mutex_lock(&s->info_lock);
    if (!s->bitmaps) {
        s->bitmaps = g_new0(struct Qcow2Bitmaps, 1);
    }
    old = s->bitmaps->entries;
    s->bitmaps->entries = entries;
    g_mutex_unlock(&s->info_lock);
    g_clear_pointer(&old, g_ptr_array_unref);
}

const GPtrArray *qcow2_bitmaps_entries(const BlockNode *node)
{
    const Qcow2State *s = qcow2_state(node);

    return s->bitmaps ? s->bitmaps->entries : NULL;
}

void qcow2_bitmaps_free(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);

    struct Qcow2Bitmaps *bitmaps = s->bitmaps;

    if (bitmaps) {
        g_mutex_lock(&s->info_lock);
        s->bitmaps = NULL;
        g_mutex_unlock(&s->info_lock);
        g_ptr_array_unref(bitmaps->entries);
        g_free(bitmaps);
    }
}

Qcow2BitmapEntry *qcow2_bitmaps_find(const GPtrArray *entries, const char *name, guint *index)
{
    for (guint i = 0; i < entries->len; i++) {
        Qcow2BitmapEntry *entry = entries->pdata[i];

        if (qcow2_bitmap_name_is_text(entry) && strcmp(entry->name, name) == 0) {
            if (index) {
                *index = i;
            }
            return entry;
        }
    }
    return NULL;
}

GPtrArray *qcow2_bitmaps_copy(BlockNode *node)
{
    const GPtrArray *entries = qcow2_bitmaps_list(node);
    GPtrArray *copy = qcow2_bitmap_directory_new();

    for (guint i = 0; i < entries->len; i++) {
        g_ptr_array_add(copy, qcow2_bitmap_entry_copy(entries->pdata[i]));
    }
    return copy;
}

/* --- replacing the directory --- */

static int co_write_directory(BlockNode *node, const GPtrArray *entries, Qcow2BitmapsExt *ext)
{
    size_t size = qcow2_bitmap_directory_size(entries);
    int64_t offset;
    uint8_t *buf;
    int ret;

    *ext = (Qcow2BitmapsExt){0};
    if (entries->len == 0) {
        return 0;
    }
    if (entries->len > QCOW2_MAX_BITMAPS || size > QCOW2_MAX_BITMAP_DIRECTORY_BYTES) {
        return -EFBIG;
    }
    offset = co_qcow2_alloc_clusters(node, size);
    if (offset < 0) {
        return offset;
    }
    buf = g_malloc(size);
    qcow2_bitmap_directory_encode(entries, buf);
    ret = co_qcow2_write_meta(node, 0, offset, buf, size);
    g_free(buf);
    if (ret < 0) {
        co_qcow2_free_clusters(node, offset, size, QCOW2_DISCARD_OTHER);
        return ret;
    }
    *ext = (Qcow2BitmapsExt){
        .count = entries->len,
        .directory_size = size,
        .directory_offset = offset,
    };
    return 0;
}

static void co_free_directory(BlockNode *node, const Qcow2BitmapsExt *ext)
{
    if (ext->count) {
        co_qcow2_free_clusters(node, ext->directory_offset, ext->directory_size,
                               QCOW2_DISCARD_OTHER);
    }
}

/* The step from the old directory to the new one; what both need is in the file. */
static int co_switch_directory(BlockNode *node, const Qcow2BitmapsExt *ext)
{
    Qcow2Header *header = &qcow2_state(node)->header;
    Qcow2BitmapsExt old = header->bitmaps;
    uint64_t old_autoclear = header->autoclear;
    int ret;

    header->bitmaps = *ext;
    header->autoclear &= ~QCOW2_BITMAPS;
    header->autoclear |= ext->count ? QCOW2_BITMAPS : 0;
    ret = co_qcow2_header_commit(node);
    if (ret < 0) {
        header->bitmaps = old;
        header->autoclear = old_autoclear;
        co_qcow2_header_take_back(node);
    }
    return ret;
}

int co_qcow2_bitmaps_replace(BlockNode *node, GPtrArray *entries)
{
    Qcow2BitmapsExt old = qcow2_state(node)->header.bitmaps, ext;
    int ret = qcow2_state(node)->broken ? -EIO : co_write_directory(node, entries, &ext);

    if (ret == 0) {
        ret = co_qcow2_write_metadata(node);
        if (ret == 0) {
            ret = co_qcow2_flush_files(node);
        }
        if (ret < 0) {
            co_free_directory(node, &ext);
        } else {
            /* A failure of this may have reached the disk or not: both directories stay. */
            ret = co_switch_directory(node, &ext);
        }
    }
    if (ret < 0) {
        g_ptr_array_unref(entries);
        return ret;
    }
    co_free_directory(node, &old);
    qcow2_bitmaps_set(node, entries);
    return 0;
}

/* --- what others ask --- */

void qcow2_bitmaps_set_readonly(BlockNode *node, bool readonly)
{
    for (guint i = 0; i < node->bitmaps->len; i++) {
        DirtyBitmap *bitmap = node->bitmaps->pdata[i];

        if (dirty_bitmap_persistent(bitmap)) {
            dirty_bitmap_set_readonly(bitmap, readonly);
        }
    }
}

bool qcow2_bitmaps_check_resize(const BlockNode *node, GError **errp)
{
    const GPtrArray *entries = qcow2_bitmaps_entries(node);

    for (guint i = 0; entries && i < entries->len; i++) {
        const Qcow2BitmapEntry *entry = entries->pdata[i];
        const DirtyBitmap *bitmap = block_node_bitmap_find(node, entry->name);

        if (!bitmap || !qcow2_bitmap_name_is_text(entry)) {
            return tm_error_set(errp, "Cannot resize qcow2 with persistent bitmaps that were not "
                                      "loaded into memory");
        }
        if (!dirty_bitmap_check(bitmap, DIRTY_BITMAP_DEFAULT, errp)) {
            return false;
        }
    }
    return true;
}
