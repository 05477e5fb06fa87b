/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening the copy-before-write filter: by its options, and for a job. */
#include <inttypes.h>

#include "block/filters/cbw-int.h"
#include "block/drain.h"
#include "block/filters/copy-before-write.h"
#include "block/node-bitmaps.h"
#include "util/error.h"
#include "util/range.h"

/* QEMU's unit of copying where the target's format does not ask for more. */
#define DEFAULT_CLUSTER 65536
/* A unit that is read as a whole must fit in memory. */
#define MAX_CLUSTER ((int64_t)1 << 30)

static bool cluster_size_of(const BlockNode *target, uint64_t min_cluster_size,
                            int64_t *cluster_size, GError **errp)
{
    int64_t max = is_power_of_two((int64_t)MIN(min_cluster_size, INT64_MAX)) ? MAX_CLUSTER
                                                                           : INT64_MAX;

    if (min_cluster_size > (uint64_t)max) {
        return tm_error_set(errp, "Cannot create block-copy-state: "
                            "min-cluster-size too large: %" PRIu64 " > %" PRIi64,
                            min_cluster_size, max);
    }
    if (min_cluster_size && !is_power_of_two(min_cluster_size)) {
        return tm_error_set(errp, "Cannot create block-copy-state: "
                                  "min-cluster-size needs to be a power of 2");
    }
    *cluster_size = MAX(DEFAULT_CLUSTER, (int64_t)min_cluster_size);
    *cluster_size = MAX(*cluster_size, block_node_cluster_size(target));
    return true;
}

static bool find_bitmap(const BlockdevOptionsCbw *o, DirtyBitmap **bitmap, GError **errp)
{
    *bitmap = o->bitmap ? block_bitmap_lookup(o->bitmap->node, o->bitmap->name, NULL, errp) : NULL;
    return *bitmap || !o->bitmap;
}

static bool check_bitmap(const DirtyBitmap *bitmap, GError **errp)
{
    if (!dirty_bitmap_check(bitmap, DIRTY_BITMAP_ALLOW_RO, errp)) {
        g_prefix_error(errp, "Cannot create block-copy-state: Failed to merge bitmap '%s' to "
                             "internal copy-bitmap: ", dirty_bitmap_name(bitmap));
        return false;
    }
    return true;
}

static bool make_copy(BlockNode *node, const BlockCopyOptions *options, const DirtyBitmap *bitmap,
                      GError **errp)
{
    CbwState *s = node->state;

    s->copy = block_copy_new(options);
    if (!bitmap) {
        block_copy_select_all(s->copy);
        return true;
    }
    if (!block_copy_select_dirty(s->copy, bitmap, errp)) {
        g_prefix_error(errp, "Cannot create block-copy-state: Failed to merge bitmap '%s' to "
                             "internal copy-bitmap: ", dirty_bitmap_name(bitmap));
        g_clear_pointer(&s->copy, block_copy_free);
        return false;
    }
    return true;
}

/*
 * Whoever names break-guest-write wants QEMU's way; by default it is the snapshot that breaks (I5),
 * and saves are staged.
 */
static bool set_mode(BlockCopyOptions *copy, const BlockdevOptionsCbw *o, GError **errp)
{
    copy->break_guest_write =
        o->has_on_cbw_error && o->on_cbw_error == ON_CBW_ERROR_BREAK_GUEST_WRITE;
    copy->mode = copy->break_guest_write ? BLOCK_COPY_WRITE_THROUGH : BLOCK_COPY_STAGED;
    copy->by_blocks = !copy->break_guest_write;
    copy->staging_bytes = o->has_staging_size ? o->staging_size : 0;
    if (o->has_staging_size && copy->break_guest_write) {
        return tm_error_set(errp, "Option 'staging-size' cannot be used with "
                                  "on-cbw-error=break-guest-write, which stages nothing");
    }
    if (o->has_staging_size && o->staging_size < BLOCK_COPY_MIN_STAGING) {
        return tm_error_set(errp, "Option 'staging-size' must be at least %zu bytes",
                            BLOCK_COPY_MIN_STAGING);
    }
    return true;
}

bool cbw_co_open(BlockNode *node, const BlockdevOptions *options, GError **errp)
{
    const BlockdevOptionsCbw *o = &options->u.copy_before_write;
    CbwState *s = node->state;
    BlockCopyOptions copy = { .owner = node };
    DirtyBitmap *bitmap;

    if (!set_mode(&copy, o, errp) ||
        !co_block_open_child(node, o->file, "file", BLOCK_ROLE_FILTERED | BLOCK_ROLE_PRIMARY,
                             errp) ||
        !(s->target = co_block_open_child(node, o->target, "target", BLOCK_ROLE_DATA, errp)) ||
        !find_bitmap(o, &bitmap, errp) || (bitmap && !check_bitmap(bitmap, errp)) ||
        !cluster_size_of(s->target->node, o->has_min_cluster_size ? o->min_cluster_size : 0,
                         &copy.cluster_size, errp)) {
        return false;
    }
    copy.source = node->file;
    copy.target = s->target;
    copy.target_threshold = o->has_target_threshold ? MIN(o->target_threshold, INT64_MAX) : 0;
    copy.timeout_ns = o->has_cbw_timeout ? (int64_t)o->cbw_timeout * 1000000000 : 0;
    if (!make_copy(node, &copy, bitmap, errp)) {
        return false;
    }
    s->leaver = block_copy_is_staged(s->copy) ? leaver_new(s->copy, node, false) : NULL;
    return true;
}

static BlockNode *co_open_node(BlockNode *source, BlockNode *target, const CbwJobOptions *job,
                               GError **errp)
{
    BlockdevRef file = { .kind = BLOCKDEV_REF_KIND_REFERENCE, .u.reference = source->name };
    BlockdevRef to = { .kind = BLOCKDEV_REF_KIND_REFERENCE, .u.reference = target->name };
    BlockdevOptions options = {
        .driver = BLOCKDEV_DRIVER_COPY_BEFORE_WRITE,
        .node_name = (char *)job->name,
        .has_discard = true,
        .discard = BLOCKDEV_DISCARD_OPTIONS_UNMAP, /* the guest's discards go on as before */
        .u.copy_before_write = {
            .file = &file,
            .target = &to,
            .has_min_cluster_size = true,
            .min_cluster_size = job->min_cluster_size,
            .has_on_cbw_error = true, /* no leaver: the copy will be another */
            .on_cbw_error = ON_CBW_ERROR_BREAK_GUEST_WRITE,
        },
    };

    return co_block_node_open(&options, errp);
}

/*
 * The target is a view, too: readers see there what is on its way.  It is an image on top of the
 * disk mostly, which takes whole clusters.
 */
static void co_start_leaving(BlockNode *node)
{
    CbwState *s = node->state;
    BlockDrain *drain = co_block_drain_begin(s->target->node);

    s->leaver = leaver_new(s->copy, node, true);
    block_copy_show_in_target(s->copy);
    co_block_drain_end(drain);
}

BlockNode *co_cbw_open_for_job(BlockNode *source, BlockNode *target, const CbwJobOptions *job,
                               GError **errp)
{
    BlockNode *node = co_open_node(source, target, job, errp);
    BlockCopyOptions copy = {
        .owner = node,
        .mode = BLOCK_COPY_STAGED,
        .staging_bytes = job->staging_bytes,
        .room_limit_ns = job->room_limit_ns,
        .job_id = job->job_id,
    };
    CbwState *s;

    if (!node) {
        g_prefix_error(errp, "Could not create node: ");
        return NULL;
    }
    s = node->state;
    s->discard_source = job->discard_source;
    copy.source = node->file;
    copy.target = s->target;
    copy.cluster_size = block_copy_cluster_size(s->copy);
    g_clear_pointer(&s->copy, block_copy_free); /* the one that the options made */
    if (!make_copy(node, &copy, job->bitmap, errp)) {
        co_block_node_unref(node);
        return NULL;
    }
    if (job->no_copier) {
        co_start_leaving(node);
    }
    return node;
}
