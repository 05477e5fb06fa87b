/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The dirty bitmaps of a node; see node-bitmaps.h. */
#include "block/node-bitmaps.h"

#include <string.h>

#include "block/child.h"
#include "block/driver.h"
#include "util/error.h"

#define MIN_DEFAULT_GRANULARITY (4 * 1024)
#define DEFAULT_GRANULARITY (64 * 1024)

DirtyBitmap *block_node_bitmap_find(const BlockNode *node, const char *name)
{
    for (unsigned i = 0; i < node->bitmaps->len; i++) {
        DirtyBitmap *bitmap = node->bitmaps->pdata[i];

        if (g_strcmp0(dirty_bitmap_name(bitmap), name) == 0) {
            return bitmap;
        }
    }
    return NULL;
}

DirtyBitmap *block_bitmap_lookup(const char *node_name, const char *bitmap_name, BlockNode **node,
                                 GError **errp)
{
    BlockNode *found = block_node_find(node_name);
    DirtyBitmap *bitmap;

    if (!found) {
        tm_error_set(errp, "Node '%s' not found", node_name);
        return NULL;
    }
    bitmap = block_node_bitmap_find(found, bitmap_name);
    if (!bitmap) {
        tm_error_set(errp, "Dirty bitmap '%s' not found", bitmap_name);
        return NULL;
    }
    if (node) {
        *node = found;
    }
    return bitmap;
}

int64_t block_node_cluster_size(const BlockNode *node)
{
    while (!node->driver->image || !node->driver->image->cluster_size) {
        if (!node->file || !(node->driver->is_filter || node->driver->id == BLOCKDEV_DRIVER_RAW)) {
            return 0;
        }
        node = node->file->node;
    }
    return node->driver->image->cluster_size(node);
}

uint32_t block_node_default_granularity(const BlockNode *node)
{
    int64_t size = block_node_cluster_size(node);

    return size ? CLAMP(size, MIN_DEFAULT_GRANULARITY, DEFAULT_GRANULARITY) : DEFAULT_GRANULARITY;
}

bool block_bitmap_check_granularity(uint32_t granularity, GError **errp)
{
    if (granularity < DIRTY_BITMAP_MIN_GRANULARITY || (granularity & (granularity - 1))) {
        return tm_error_set(errp, "Granularity must be power of 2 and at least %u",
                            DIRTY_BITMAP_MIN_GRANULARITY);
    }
    return true;
}

DirtyBitmap *block_node_bitmap_add(BlockNode *node, const char *name, uint32_t granularity,
                                   GError **errp)
{
    DirtyBitmap *bitmap;

    if (name && !name[0]) {
        tm_error_set(errp, "Bitmap name cannot be empty");
        return NULL;
    }
    if (!block_bitmap_check_granularity(granularity, errp)) {
        return NULL;
    }
    if (name && block_node_bitmap_find(node, name)) {
        tm_error_set(errp, "Bitmap already exists: %s", name);
        return NULL;
    }
    if (name && strlen(name) > DIRTY_BITMAP_MAX_NAME) {
        tm_error_set(errp, "Bitmap name too long: %s", name);
        return NULL;
    }
    bitmap = dirty_bitmap_new(name, node->size, granularity);
    g_ptr_array_add(node->bitmaps, bitmap);
    return bitmap;
}

void block_node_bitmap_take(BlockNode *node, DirtyBitmap *bitmap)
{
    g_ptr_array_remove(node->bitmaps, bitmap);
}

void block_node_bitmap_put_back(BlockNode *node, DirtyBitmap *bitmap)
{
    g_ptr_array_add(node->bitmaps, bitmap);
}

void block_node_bitmap_remove(BlockNode *node, DirtyBitmap *bitmap)
{
    block_node_bitmap_take(node, bitmap);
    dirty_bitmap_free(bitmap);
}

static BlockDirtyInfo *bitmap_info(const DirtyBitmap *bitmap)
{
    BlockDirtyInfo *info = g_new0(BlockDirtyInfo, 1);

    info->name = g_strdup(dirty_bitmap_name(bitmap));
    info->count = dirty_bitmap_count(bitmap);
    info->granularity = dirty_bitmap_granularity(bitmap);
    info->recording = dirty_bitmap_recording(bitmap);
    info->busy = dirty_bitmap_busy(bitmap);
    info->persistent = dirty_bitmap_persistent(bitmap);
    info->has_inconsistent = dirty_bitmap_inconsistent(bitmap);
    info->inconsistent = info->has_inconsistent;
    return info;
}

/* The newest first, as QEMU shows them, and a successor as a bitmap without a name. */
GPtrArray *block_node_bitmap_infos(const BlockNode *node)
{
    GPtrArray *infos;

    if (node->bitmaps->len == 0) {
        return NULL;
    }
    infos = g_ptr_array_new_with_free_func((GDestroyNotify)BlockDirtyInfo_free);
    for (unsigned i = node->bitmaps->len; i-- > 0;) {
        const DirtyBitmap *bitmap = node->bitmaps->pdata[i];
        const DirtyBitmap *successor = dirty_bitmap_successor(bitmap);

        if (successor) {
            g_ptr_array_add(infos, bitmap_info(successor));
        }
        g_ptr_array_add(infos, bitmap_info(bitmap));
    }
    return infos;
}
