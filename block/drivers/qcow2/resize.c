/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changing the size of the disk; see resize.h.
 *
 * The header's size is what counts, and is written last when the disk grows: until then what is
 * behind the old end is never looked at.  When it shrinks, the clusters behind the new end go
 * first; a crash in between leaves a disk of the old size with zeroes (or the backing file's
 * bytes) there: those who cut a disk have given them up.
 *
 * What becomes visible by growing reads as zeroes: not as what an old last cluster still held
 * behind the end, nor as a backing file that is longer.
 */
#include "block/drivers/qcow2/resize.h"

#include "block/drivers/drivers.h"
#include "block/drivers/qcow2/alloc.h"
#include "block/drivers/qcow2/bitmaps.h"
#include "block/drivers/qcow2/io.h"
#include "block/drivers/qcow2/refcount.h"
#include "util/error.h"
#include "util/range.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ZERO_PIECE (INT64_C(1) << 20)

static int fail(GError **errp, int ret, const char *message)
{
    tm_error_set_errno(errp, -ret, "%s", message);
    return ret;
}

/* --- shrinking ---------------------------------------------------------------------------- */

/* Takes the L2 tables of [first, l1_size) out of L1, then frees them (O2). */
static int co_drop_l2_tables(BlockNode *node, uint32_t first)
{
    Qcow2State *s = qcow2_state(node);
    uint32_t count = s->header.l1_size - first;
    g_autofree uint64_t *old = g_memdup2(s->l1 + first, count * sizeof(*old));
    int ret = co_qcow2_write_metadata(node);

    if (ret < 0 || count == 0) {
        return ret;
    }
    for (uint32_t i = first; i < s->header.l1_size; i++) {
        qcow2_l1_set(s, i, 0);
    }
    ret = co_qcow2_l1_write(node);
    if (ret == 0) {
        ret = co_qcow2_flush_files(node);
    }
    for (uint32_t i = 0; i < count && ret == 0; i++) {
        int64_t table = old[i] & QCOW2_OFFSET_MASK;

        if (table) {
            qcow2_cache_forget(s->l2_cache, table, s->cluster_size);
            co_qcow2_free_clusters(node, table, s->cluster_size, QCOW2_DISCARD_ALWAYS);
        }
    }
    return ret;
}

static int co_shrink(BlockNode *node, int64_t size, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    int64_t start = align_up(size, s->cluster_size);
    int64_t end = align_up(s->header.size, s->cluster_size);
    uint64_t tables = qcow2_l1_entries(size, s->cluster_bits, s->extended_l2);
    int ret = co_qcow2_discard_clusters(node, start, end - start, QCOW2_DISCARD_ALWAYS, true);

    if (ret < 0) {
        return fail(errp, ret, "Failed to discard cropped clusters");
    }
    co_mutex_lock(&s->lock);
    ret = co_drop_l2_tables(node, tables);
    co_mutex_unlock(&s->lock);
    return ret < 0 ? fail(errp, ret, "Failed to reduce the number of L2 tables") : 0;
}

/* The file ends where its last used cluster does; what cannot be cut off stays. */
static void co_cut_tail(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    int64_t end;

    co_mutex_lock(&s->lock);
    end = co_qcow2_used_end(node, units_covering(s->file_used, s->cluster_size));
    end = MAX(end, 1) << s->cluster_bits;
    if (end < node->file->node->size &&
        co_block_truncate(node->file, end, false, PREALLOC_MODE_OFF, NULL)) {
        s->file_used = s->fresh_from = end;
    }
    co_mutex_unlock(&s->lock);
}

/* --- growing ------------------------------------------------------------------------------ */

/* Writes zeroes as data; for what zero clusters cannot express. */
static int co_write_zero_data(BlockNode *node, int64_t offset, int64_t end)
{
    size_t len = MIN(end - offset, ZERO_PIECE);
    void *buf;
    int ret = 0;

    if (offset >= end) {
        return 0;
    }
    buf = block_alloc(node->file->node, len);
    if (!buf) {
        return -ENOMEM;
    }
    memset(buf, 0, len);
    for (; offset < end && ret == 0; offset += len) {
        struct iovec iov = { buf, MIN(end - offset, (int64_t)len) };
        IoSlice data = io_slice(&iov, 1);

        ret = qcow2_co_write(node, offset, &data, 0);
    }
    free(buf);
    return ret;
}

static int co_zero(BlockNode *node, int64_t offset, int64_t end)
{
    int ret = offset < end ? co_qcow2_zero_clusters(node, offset, end - offset, 0) : 0;

    return ret == -ENOTSUP ? co_write_zero_data(node, offset, end) : ret;
}

/* The rest of the old last cluster, where it has room in the file. */
static int co_zero_old_tail(BlockNode *node, int64_t size)
{
    Qcow2State *s = qcow2_state(node);
    int64_t old = s->header.size, end = MIN(align_up(old, s->cluster_size), size);
    Qcow2Run run;
    int ret = 0;

    for (; old < end && ret == 0; old += run.bytes) {
        ret = co_qcow2_map(node, old, end - old, &run);
        if (ret == 0 && (run.kind == QCOW2_KIND_NORMAL || run.kind == QCOW2_KIND_COMPRESSED)) {
            ret = co_write_zero_data(node, old, old + run.bytes);
        }
    }
    return ret;
}

static int co_hide_backing(BlockNode *node, int64_t size)
{
    const BlockChild *backing = qcow2_backing(node);
    int64_t old = qcow2_state(node)->header.size;
    int64_t end = backing ? MIN(size, backing->node->size) : 0;

    return co_zero(node, old, end);
}

/* An external data file is as long as the disk where that matters. */
static int co_resize_data_file(BlockNode *node, int64_t size, bool exact, PreallocMode mode,
                               GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    bool must = exact || s->raw_external;

    if (mode == PREALLOC_MODE_METADATA || size <= s->data->node->size) {
        mode = PREALLOC_MODE_OFF;
    }
    if (!s->external_data || (size <= s->data->node->size && !must)) {
        return 0;
    }
    return co_block_truncate(s->data, size, must, mode, errp) ? 0 : -EIO;
}

static int co_grow(BlockNode *node, int64_t size, bool exact, PreallocMode mode, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t entries = qcow2_l1_entries(size, s->cluster_bits, s->extended_l2);
    bool ok;
    int ret;

    co_mutex_lock(&s->lock);
    ok = entries <= UINT32_MAX ? co_qcow2_l1_grow(node, entries, errp)
                               : tm_error_set_errno(errp, EFBIG, "Failed to grow the L1 table");
    co_mutex_unlock(&s->lock);
    if (!ok) {
        return -EFBIG;
    }
    ret = co_resize_data_file(node, size, exact, mode, errp);
    if (ret < 0) {
        return ret;
    }
    ret = co_zero_old_tail(node, size);
    if (ret == 0) {
        ret = co_hide_backing(node, size);
    }
    if (ret < 0) {
        return fail(errp, ret, "Failed to zero out the new area");
    }
    return mode == PREALLOC_MODE_OFF && !s->raw_external
               ? 0
               : co_qcow2_preallocate(node, s->header.size, size - s->header.size, mode, errp);
}

/* --- the request -------------------------------------------------------------------------- */

static bool check(BlockNode *node, int64_t size, PreallocMode mode, GError **errp)
{
    const Qcow2State *s = qcow2_state(node);

    if (size % BLOCK_SECTOR) {
        return tm_error_set(errp, "The new size must be a multiple of %u", BLOCK_SECTOR);
    }
    if (s->broken) {
        return tm_error_set_errno(errp, EIO, "The image is corrupt");
    }
    if (s->header.snapshots && s->header.version < 3) {
        return tm_error_set(errp, "Can't resize a v2 image which has snapshots");
    }
    if (size < s->header.size && mode != PREALLOC_MODE_OFF) {
        return tm_error_set(errp, "Preallocation can't be used for shrinking an image");
    }
    return qcow2_bitmaps_check_resize(node, errp);
}

/* The map is on disk before the size that shows it. */
static int co_write_size(BlockNode *node, int64_t size, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    int64_t old = s->header.size;
    int ret;

    co_mutex_lock(&s->lock);
    ret = co_qcow2_write_metadata(node);
    if (ret == 0) {
        ret = co_qcow2_flush_files(node);
    }
    if (ret == 0) {
        s->header.size = size;
        ret = co_qcow2_header_commit(node);
        if (ret < 0) {
            s->header.size = old;
            co_qcow2_header_take_back(node);
        }
    }
    co_mutex_unlock(&s->lock);
    return ret < 0 ? fail(errp, ret, "Failed to update the image size") : 0;
}

int qcow2_co_truncate(BlockNode *node, int64_t size, bool exact, PreallocMode mode, GError **errp)
{
    const Qcow2State *s = qcow2_state(node);
    bool shrinks = size < s->header.size;
    int ret = 0;

    if (!check(node, size, mode, errp)) {
        return -EINVAL;
    }
    if (shrinks) {
        ret = co_shrink(node, size, errp);
    } else if (size > s->header.size) {
        ret = co_grow(node, size, exact, mode, errp);
    }
    if (ret == 0) {
        ret = co_write_size(node, size, errp);
    }
    if (ret == 0 && shrinks) {
        co_cut_tail(node);
        ret = s->raw_external ? co_resize_data_file(node, size, exact, mode, errp) : 0;
    }
    return ret;
}
