/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What queries tell about nodes; see info.h. The members are those that QEMU 10.0 gives. */
#include "block/info.h"

#include <errno.h>
#include <stdatomic.h>

#include "block/child.h"
#include "block/driver.h"
#include "block/node-bitmaps.h"

#define SECTOR 512

typedef struct Pending {
    char *node;
    ImageInfo *image; /* not owned */
} Pending;

struct BlockInfoSizes {
    GPtrArray *pending;
};

static void pending_free(void *opaque)
{
    Pending *pending = opaque;

    g_free(pending->node);
    g_free(pending);
}

BlockInfoSizes *block_info_sizes_new(void)
{
    BlockInfoSizes *sizes = g_new0(BlockInfoSizes, 1);

    sizes->pending = g_ptr_array_new_with_free_func(pending_free);
    return sizes;
}

static void ask_later(BlockInfoSizes *sizes, const BlockNode *node, ImageInfo *image)
{
    Pending *pending = g_new0(Pending, 1);

    pending->node = g_strdup(node->name);
    pending->image = image;
    g_ptr_array_add(sizes->pending, pending);
}

static bool is_host_file(const BlockNode *node)
{
    return node->driver->id == BLOCKDEV_DRIVER_FILE ||
           node->driver->id == BLOCKDEV_DRIVER_HOST_DEVICE;
}

/* The image that a filter shows, or NULL. */
static const BlockNode *filtered(const BlockNode *node)
{
    return node->driver->is_filter && node->file ? node->file->node : NULL;
}

/* What passes through to a file has a flag, which says that it was closed properly. */
static bool has_dirty_flag(const BlockNode *node)
{
    while (filtered(node) || (node->driver->id == BLOCKDEV_DRIVER_RAW && node->file)) {
        node = node->file->node;
    }
    return is_host_file(node) || (node->driver->image && node->driver->image->fill_info);
}

static ImageInfoSpecific *format_specific(const BlockNode *node)
{
    ImageInfoSpecific *specific;

    if (!is_host_file(node)) {
        return NULL;
    }
    specific = g_new0(ImageInfoSpecific, 1);
    specific->type = IMAGE_INFO_SPECIFIC_KIND_FILE;
    specific->u.file.data = g_new0(ImageInfoSpecificFile, 1);
    return specific;
}

static ImageInfo *image_info(const BlockNode *node, BlockInfoSizes *sizes)
{
    ImageInfo *image = g_new0(ImageInfo, 1);

    image->filename = g_strdup(block_node_filename(node));
    image->format = g_strdup(BlockdevDriver_name(node->driver->id));
    image->virtual_size = (block_node_size(node) + SECTOR - 1) / SECTOR * SECTOR;
    image->has_dirty_flag = has_dirty_flag(node);
    image->cluster_size = block_node_cluster_size(node);
    image->has_cluster_size = image->cluster_size > 0;
    image->format_specific = format_specific(node);
    if (node->driver->image && node->driver->image->fill_info) {
        node->driver->image->fill_info(node, image);
    }
    ask_later(sizes, node, image);
    return image;
}

static const BlockNode *backing(const BlockNode *node)
{
    for (guint i = 0; i < node->children->len; i++) {
        const BlockChild *child = node->children->pdata[i];

        if (child->role & BLOCK_ROLE_COW) {
            return child->node;
        }
    }
    return NULL;
}

static const BlockNode *below(const BlockNode *node)
{
    return filtered(node) ? filtered(node) : backing(node);
}

/* The images below, each inside the one above; returns how many. */
static int64_t add_images_below(const BlockNode *node, ImageInfo *image, BlockInfoSizes *sizes)
{
    int64_t depth = 0;

    while ((node = below(node))) {
        image->backing_image = image_info(node, sizes);
        image = image->backing_image;
        depth++;
    }
    return depth;
}

static BlockdevCacheInfo *cache_info(const BlockNode *node)
{
    BlockdevCacheInfo *cache = g_new0(BlockdevCacheInfo, 1);

    cache->writeback = true;
    cache->direct = node->options.cache_direct;
    cache->no_flush = node->options.cache_no_flush;
    return cache;
}

BlockDeviceInfo *block_device_info(const BlockNode *node, bool flat, BlockInfoSizes *sizes)
{
    BlockDeviceInfo *info = g_new0(BlockDeviceInfo, 1);

    info->file = g_strdup(block_node_filename(node));
    info->node_name = g_strdup(node->name);
    info->ro = block_node_is_read_only(node);
    info->backing_file = backing(node) ? g_strdup(block_node_filename(backing(node))) : NULL;
    info->drv = g_strdup(BlockdevDriver_name(node->driver->id));
    info->active = true;
    info->detect_zeroes = node->options.detect_zeroes;
    info->cache = cache_info(node);
    info->image = image_info(node, sizes);
    if (!flat) {
        info->backing_file_depth = add_images_below(node, info->image, sizes);
    }
    info->write_threshold = atomic_load(&node->write_threshold);
    info->dirty_bitmaps = block_node_bitmap_infos(node);
    /* One that is being opened or closed is in the list, too. */
    if (node->driver->fill_info && node->opened && node->refcount) {
        node->driver->fill_info(node, info);
    }
    return info;
}

/* As in QEMU a node is as large as what is below it, but for blkdebug, which counts as a protocol.
 */
static int64_t co_allocated_size(BlockNode *node)
{
    while (!node->driver->image || !node->driver->image->co_allocated_size) {
        if (!node->file || node->driver->id == BLOCKDEV_DRIVER_BLKDEBUG) {
            return -ENOTSUP;
        }
        node = node->file->node;
    }
    return node->driver->image->co_allocated_size(node); /* node may be gone when it returns */
}

void co_block_info_sizes_fill(BlockInfoSizes *sizes)
{
    for (guint i = 0; i < sizes->pending->len; i++) {
        const Pending *pending = sizes->pending->pdata[i];
        BlockNode *node = block_node_find(pending->node);
        int64_t bytes = node ? co_allocated_size(node) : -ENOENT;

        pending->image->has_actual_size = bytes >= 0;
        pending->image->actual_size = MAX(bytes, 0);
    }
    g_ptr_array_unref(sizes->pending);
    g_free(sizes);
}
