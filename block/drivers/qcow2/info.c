/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What queries tell about a qcow2 image.  They run on loop 0 while the image works on its own: what
 * can change is read under info_lock.
 */
#include "block/drivers/qcow2/bitmap-directory.h"
#include "block/drivers/qcow2/bitmaps.h"
#include "block/filename.h"

static Qcow2BitmapInfo *bitmap_info(const Qcow2BitmapEntry *entry)
{
    static const struct {
        uint32_t bit;
        Qcow2BitmapInfoFlags flag;
    } flags[] = {
        {QCOW2_BITMAP_IN_USE, QCOW2_BITMAP_INFO_FLAGS_IN_USE},
        {QCOW2_BITMAP_AUTO, QCOW2_BITMAP_INFO_FLAGS_AUTO},
    };
    Qcow2BitmapInfo *info = g_new0(Qcow2BitmapInfo, 1);

    info->name = g_utf8_make_valid(entry->name, strlen(entry->name));
    info->granularity = UINT32_C(1) << MIN(entry->granularity_bits, 31);
    info->flags = g_array_new(false, false, sizeof(Qcow2BitmapInfoFlags));
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (entry->flags & flags[i].bit) {
            g_array_append_val(info->flags, flags[i].flag);
        }
    }
    return info;
}

static GPtrArray *bitmap_infos(const BlockNode *node)
{
    const GPtrArray *entries = qcow2_bitmaps_entries(node);
    GPtrArray *infos;

    if (!entries || entries->len == 0) {
        return NULL;
    }
    infos = g_ptr_array_new_with_free_func((GDestroyNotify)Qcow2BitmapInfo_free);
    for (guint i = 0; i < entries->len; i++) {
        g_ptr_array_add(infos, bitmap_info(entries->pdata[i]));
    }
    return infos;
}

/* Version 2 does not know of the rest. */
static void fill_version_3(const Qcow2State *s, ImageInfoSpecificQCow2 *q)
{
    q->has_lazy_refcounts = q->has_corrupt = q->has_extended_l2 = true;
    q->lazy_refcounts = s->header.compatible & QCOW2_LAZY_REFCOUNTS;
    q->corrupt = s->header.incompatible & QCOW2_CORRUPT;
    q->extended_l2 = s->extended_l2;
    q->data_file = g_strdup(s->header.data_file_name);
    q->has_data_file_raw = s->external_data;
    q->data_file_raw = s->raw_external;
}

static ImageInfoSpecific *specific(const BlockNode *node)
{
    const Qcow2State *s = qcow2_state(node);
    ImageInfoSpecific *result = g_new0(ImageInfoSpecific, 1);
    ImageInfoSpecificQCow2 *q = g_new0(ImageInfoSpecificQCow2, 1);

    q->compat = g_strdup(s->header.version < 3 ? "0.10" : "1.1");
    q->refcount_bits = s->refcount_bits;
    q->compression_type = s->header.compression == QCOW2_COMPRESSION_ZSTD
                              ? QCOW2_COMPRESSION_TYPE_ZSTD
                              : QCOW2_COMPRESSION_TYPE_ZLIB;
    if (s->header.version >= 3) {
        fill_version_3(s, q);
        q->bitmaps = bitmap_infos(node);
    }
    result->type = IMAGE_INFO_SPECIFIC_KIND_QCOW2;
    result->u.qcow2.data = q;
    return result;
}

/* The table does not change while the image is open. */
static SnapshotInfo *snapshot_info(const Qcow2Snapshot *snapshot)
{
    SnapshotInfo *info = g_new0(SnapshotInfo, 1);

    info->id = g_utf8_make_valid(snapshot->id, -1);
    info->name = g_utf8_make_valid(snapshot->name, -1);
    info->vm_state_size = snapshot->vm_state_size;
    info->date_sec = snapshot->date_sec;
    info->date_nsec = snapshot->date_nsec;
    info->vm_clock_sec = snapshot->vm_clock_ns / G_GUINT64_CONSTANT(1000000000);
    info->vm_clock_nsec = snapshot->vm_clock_ns % G_GUINT64_CONSTANT(1000000000);
    info->has_icount = snapshot->icount != UINT64_MAX;
    info->icount = info->has_icount ? snapshot->icount : 0;
    return info;
}

static GPtrArray *snapshot_infos(const Qcow2State *s)
{
    GPtrArray *infos;

    if (!s->snapshots || s->header.snapshots == 0) {
        return NULL;
    }
    infos = g_ptr_array_new_with_free_func((GDestroyNotify)SnapshotInfo_free);
    for (uint32_t i = 0; i < s->header.snapshots; i++) {
        g_ptr_array_add(infos, snapshot_info(&s->snapshots[i]));
    }
    return infos;
}

static void fill_backing(const BlockNode *node, ImageInfo *info)
{
    const Qcow2Header *h = &qcow2_state(node)->header;

    if (h->backing_name) {
        info->backing_filename = g_strdup(h->backing_name);
        info->full_backing_filename =
            block_filename_resolve(node->file->node->filename, h->backing_name, NULL);
        info->backing_filename_format = g_strdup(h->backing_format);
    }
}

void qcow2_fill_info(const BlockNode *node, ImageInfo *info)
{
    Qcow2State *s = qcow2_state(node);

    info->has_dirty_flag = true;
    info->dirty_flag = s->header.incompatible & QCOW2_DIRTY;
    if (!node->opened) {
        return; /* it has no header yet, or none any more */
    }
    g_mutex_lock(&s->info_lock);
    fill_backing(node, info);
    info->snapshots = snapshot_infos(s);
    info->format_specific = specific(node);
    g_mutex_unlock(&s->info_lock);
}
