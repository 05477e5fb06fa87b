/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcow2: the driver; opening and closing an image.  See qcow2.h for its parts.
 *
 * Opening: children are opened on loop 0, everything else is done on the loop of the graph.  The
 * header is checked before anything else of the file is read.
 */
#include "block/backing.h"
#include "block/control.h"
#include "block/drivers/drivers.h"
#include "block/drivers/qcow2/create.h"
#include "block/drivers/qcow2/bitmaps.h"
#include "block/drivers/qcow2/check.h"
#include "block/drivers/qcow2/io.h"
#include "block/drivers/qcow2/map.h"
#include "block/drivers/qcow2/options.h"
#include "block/drivers/qcow2/overlap.h"
#include "block/drivers/qcow2/refcount.h"
#include "block/drivers/qcow2/resize.h"
#include "block/drivers/qcow2/snapshots.h"
#include "util/error.h"
#include "util/range.h"

#include <errno.h>
#include <stdlib.h>

/* --- opening ------------------------------------------------------------------------------ */

static bool co_read_header(BlockNode *node, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    uint8_t probe[QCOW2_HEADER_PROBE];
    int ret = co_qcow2_read_file(node, 0, probe, sizeof(probe));
    size_t len = ret == 0 ? qcow2_header_probe(probe, errp) : 0;
    g_autofree uint8_t *buf = NULL;

    if (ret == 0 && len == 0) {
        return false;
    }
    if (ret == 0) {
        buf = g_malloc(len);
        ret = co_qcow2_read_file(node, 0, buf, len);
    }
    if (ret < 0) {
        return tm_error_set_errno(errp, -ret, "Could not read qcow2 header");
    }
    return qcow2_header_decode(&s->header, buf, errp);
}

static void set_geometry(Qcow2State *s)
{
    const Qcow2Header *h = &s->header;

    s->cluster_bits = h->cluster_bits;
    s->cluster_size = INT64_C(1) << h->cluster_bits;
    s->extended_l2 = h->incompatible & QCOW2_EXTENDED_L2;
    s->external_data = h->incompatible & QCOW2_DATA_FILE;
    s->raw_external = h->autoclear & QCOW2_RAW_DATA_FILE;
    s->l2_entry_bits = s->extended_l2 ? 4 : 3;
    s->l2_bits = s->cluster_bits - s->l2_entry_bits;
    s->subclusters = s->extended_l2 ? QCOW2_SUBCLUSTERS : 1;
    s->subcluster_bits = s->cluster_bits - (s->extended_l2 ? 5 : 0);
    s->subcluster_size = INT64_C(1) << s->subcluster_bits;
    s->refcount_bits = 1u << h->refcount_order;
    s->refcount_max = UINT64_MAX >> (64 - s->refcount_bits);
    s->refblock_bits = s->cluster_bits + 3 - h->refcount_order;
    s->csize_shift = 62 - (s->cluster_bits - 8);
    s->csize_mask = (UINT64_C(1) << (s->cluster_bits - 8)) - 1;
    s->coffset_mask = ((UINT64_C(1) << s->csize_shift) - 1) & ((UINT64_C(1) << 56) - 1);
}

/* What of the header depends on how the image is opened.  Who only repairs it may write it. */
static bool check_writable(BlockNode *node, GError **errp)
{
    const Qcow2State *s = qcow2_state(node);

    if ((s->header.incompatible & QCOW2_CORRUPT) && qcow2_writable(node) && !s->repair_only) {
        return tm_error_set(errp, "qcow2: Image is corrupt; cannot be opened read/write");
    }
    return true;
}

static bool co_load_tables(BlockNode *node, GError **errp)
{
    return co_qcow2_refcount_open(node, errp) && co_qcow2_map_open(node, errp) &&
           co_qcow2_snapshots_open(node, errp);
}

bool co_qcow2_clear_unknown(BlockNode *node, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    int ret;

    if (!qcow2_writable(node) || !(s->header.autoclear & ~QCOW2_AUTOCLEAR_KNOWN)) {
        return true;
    }
    s->header.autoclear &= QCOW2_AUTOCLEAR_KNOWN;
    ret = co_qcow2_header_write(node);
    return ret == 0 || tm_error_set_errno(errp, -ret, "Could not update qcow2 header");
}

static bool dirty_error(int ret, GError **errp)
{
    if (ret == -E2BIG) {
        return tm_error_set(errp, "Could not repair dirty image: it takes more work than its size "
                                  "explains; open it with x-repair=true for x-blockdev-check, or "
                                  "use qemu-img check -r all");
    }
    return tm_error_set_errno(errp, -ret, "Could not repair dirty image");
}

/* An image that was not closed with lazy refcounts: they are made anew. */
static bool co_repair_dirty(BlockNode *node, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2CheckResult result = { 0 };
    int ret;

    if (!qcow2_writable(node) || !(s->header.incompatible & QCOW2_DIRTY)) {
        return true;
    }
    co_mutex_lock(&s->lock);
    ret = co_qcow2_check_at_open(node, &result);
    co_mutex_unlock(&s->lock);
    if (ret == 0 && result.check_errors) {
        ret = -EIO;
    }
    return ret == 0 || dirty_error(ret, errp);
}

static bool co_open_image(BlockNode *node, const BlockdevOptionsQcow2 *o, GError **errp)
{
    Qcow2State *s = qcow2_state(node);

    if (!co_read_header(node, errp)) {
        return false;
    }
    set_geometry(s);
    s->repair_only = o->has_x_repair && o->x_repair;
    s->broken = s->repair_only;
    s->data = node->file;
    s->file_used = node->file->node->size;
    s->fresh_from = align_up(node->file->node->size, s->cluster_size);
    return check_writable(node, errp) && qcow2_options_apply(node, o, errp) &&
           co_load_tables(node, errp);
}

static bool co_open_data_file(BlockNode *node, const BlockdevOptionsQcow2 *o, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    BlockdevRef ref = { .kind = BLOCKDEV_REF_KIND_DEFINITION };

    if (!s->external_data) {
        return !o->data_file || tm_error_set(errp, "'data-file' can only be set for images with an "
                                                   "external data file");
    }
    if (o->data_file) {
        s->data = co_block_open_child(node, o->data_file, "data-file", BLOCK_ROLE_DATA, errp);
    } else if (s->header.data_file_name) {
        g_autoptr(BlockdevOptions) options =
            co_block_named_file_options(node, s->header.data_file_name, errp);

        ref.u.definition = options;
        s->data = options ? co_block_open_child(node, &ref, "data-file", BLOCK_ROLE_DATA, errp)
                          : NULL;
    } else {
        s->data = NULL;
        tm_error_set(errp, "'data-file' is required for this image");
    }
    return s->data != NULL;
}

/* A backing file is for reading, unless its options say otherwise. */
static bool co_open_given_backing(BlockNode *node, const BlockdevRefOrNull *backing, GError **errp)
{
    BlockdevRef ref;

    if (backing->kind == BLOCKDEV_REF_OR_NULL_KIND_NULL) {
        return true;
    }
    if (backing->kind == BLOCKDEV_REF_OR_NULL_KIND_REFERENCE) {
        ref = (BlockdevRef){ .kind = BLOCKDEV_REF_KIND_REFERENCE,
                             .u.reference = backing->u.reference };
    } else {
        BlockdevOptions *options = backing->u.definition;

        options->read_only = options->has_read_only ? options->read_only : true;
        options->has_read_only = true;
        ref = (BlockdevRef){ .kind = BLOCKDEV_REF_KIND_DEFINITION, .u.definition = options };
    }
    return co_block_open_child(node, &ref, "backing", BLOCK_ROLE_COW, errp) != NULL;
}

static bool co_open_backing(BlockNode *node, const BlockdevOptionsQcow2 *o, GError **errp)
{
    if (o->backing) {
        return co_open_given_backing(node, o->backing, errp);
    }
    return !qcow2_state(node)->header.backing_name || co_qcow2_open_backing(node, errp);
}

/*
 * The last steps, which may write; all children are there.  For a repair nothing is written before
 * it, and bitmaps stay in the file.
 */
static bool co_finish_open(BlockNode *node, GError **errp)
{
    return qcow2_state(node)->repair_only ||
           (co_qcow2_clear_unknown(node, errp) && co_repair_dirty(node, errp) &&
            co_qcow2_bitmaps_load(node, errp));
}

static void free_state(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);

    qcow2_bitmaps_free(node);
    qcow2_snapshots_close(node);
    qcow2_map_close(node);
    qcow2_refcount_close(node);
    g_clear_pointer(&s->l2_cache, qcow2_cache_free);
    g_clear_pointer(&s->refcount_cache, qcow2_cache_free);
    qcow2_overlap_forget_tables(s);
    g_mutex_lock(&s->info_lock); /* queries see the names or none */
    qcow2_header_clear(&s->header);
    g_mutex_unlock(&s->info_lock);
}

static bool co_open_all(BlockNode *node, const BlockdevOptionsQcow2 *o, GError **errp)
{
    bool ok;

    if (!co_block_open_child(node, o->file, "file",
                             BLOCK_ROLE_PRIMARY | BLOCK_ROLE_DATA | BLOCK_ROLE_METADATA, errp)) {
        return false;
    }
    co_move(node->loop);
    ok = co_open_image(node, o, errp);
    co_move(control_loop());
    if (!ok || !co_open_data_file(node, o, errp) || !co_open_backing(node, o, errp)) {
        return false;
    }
    co_move(node->loop);
    ok = co_finish_open(node, errp);
    co_move(control_loop());
    return ok;
}

static bool qcow2_co_open(BlockNode *node, const BlockdevOptions *options, GError **errp)
{
    Qcow2State *s = qcow2_state(node);

    s->node = node;
    if (!co_open_all(node, &options->u.qcow2, errp)) {
        free_state(node);
        return false;
    }
    qcow2_cleaner_start(node);
    return true;
}

/* --- closing ------------------------------------------------------------------------------ */

/* Cuts off what the file was grown by ahead of its use. */
static void co_trim_file(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    int64_t end = align_up(s->file_used, BLOCK_SECTOR);

    if (end < node->file->node->size) {
        (void)!co_block_truncate(node->file, end, false, PREALLOC_MODE_OFF, NULL);
    }
}

static int co_write_all(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    int ret;

    co_mutex_lock(&s->lock);
    ret = co_qcow2_write_metadata(node);
    if (ret == 0) {
        ret = co_qcow2_flush_files(node);
    }
    if (ret == 0) {
        co_qcow2_pass_discards(node);
        ret = co_qcow2_mark_clean(node);
        co_trim_file(node);
    }
    co_mutex_unlock(&s->lock);
    return ret;
}

/* All that is held in memory goes into the image; nothing into one that is known to be damaged. */
static int co_inactivate(BlockNode *node)
{
    int ret, written;

    if (qcow2_state(node)->broken) {
        return -EIO;
    }
    ret = co_qcow2_bitmaps_store(node);
    if (ret < 0) {
        g_warning("Node '%s': the persistent bitmaps could not be stored: %s", node->name,
                  g_strerror(-ret));
    }
    written = co_write_all(node);
    return ret < 0 ? ret : written;
}

static void qcow2_co_close(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    int ret = 0;

    co_qcow2_cleaner_stop(node);
    if (qcow2_writable(node) && !s->broken) {
        ret = co_inactivate(node);
    } else if (qcow2_writable(node) && s->repair_only) {
        co_trim_file(node);
    }
    if (ret < 0) {
        g_warning("Node '%s': closing the image failed: %s", node->name, g_strerror(-ret));
    }
    free_state(node);
}

/* --- the rest ----------------------------------------------------------------------------- */

static int64_t qcow2_co_get_size(BlockNode *node)
{
    return align_down(qcow2_state(node)->header.size, BLOCK_SECTOR);
}

static void qcow2_refresh_limits(BlockNode *node)
{
    const Qcow2State *s = qcow2_state(node);

    node->limits.write_zeroes_alignment = s->subcluster_size;
    node->limits.discard_alignment = s->cluster_size;
}

static int64_t qcow2_co_allocated_size(BlockNode *node)
{
    const BlockDriver *below = node->file->node->driver;

    return below->image && below->image->co_allocated_size
               ? below->image->co_allocated_size(node->file->node)
               : -ENOTSUP;
}

static int64_t cluster_size(const BlockNode *node)
{
    return qcow2_state(node)->cluster_size;
}

static void qcow2_co_detach(BlockNode *node)
{
    co_qcow2_cleaner_stop(node);
}

static void qcow2_co_attach(BlockNode *node)
{
    qcow2_cleaner_start(node);
}

static const BlockImageOps image_ops = {
    .co_truncate = qcow2_co_truncate,
    .co_allocated_size = qcow2_co_allocated_size,
    .cluster_size = cluster_size,
    .fill_info = qcow2_fill_info,
    .co_inactivate = co_inactivate,
    .co_set_backing_name = co_qcow2_set_backing_name,
    .co_create = qcow2_co_create,
    .co_check = qcow2_co_check,
};

static const BlockLoopOps loop_ops = {
    .co_detach = qcow2_co_detach,
    .co_attach = qcow2_co_attach,
};

const BlockDriver block_driver_qcow2 = {
    .id = BLOCKDEV_DRIVER_QCOW2,
    .state_size = sizeof(Qcow2State),
    .supports_backing = true,
    .bitmaps = &qcow2_bitmap_ops,
    .co_open = qcow2_co_open,
    .co_close = qcow2_co_close,
    .co_read = qcow2_co_read,
    .co_write = qcow2_co_write,
    .co_write_zeroes = qcow2_co_write_zeroes,
    .co_discard = qcow2_co_discard,
    .co_flush = qcow2_co_flush,
    .co_block_status = qcow2_co_block_status,
    .co_get_size = qcow2_co_get_size,
    .refresh_limits = qcow2_refresh_limits,
    .supports_write_flags = BLOCK_COMPRESSED,
    .supports_write_zeroes_flags = BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK,
    .image = &image_ops,
    .loop = &loop_ops,
    .reopen = &qcow2_reopen_ops,
};
