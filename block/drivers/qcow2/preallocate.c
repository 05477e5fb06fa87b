/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Preallocation: clusters for a part of the disk before it is written; see resize.h.
 *
 * The clusters are taken from where the file was never written, so they read as zeroes without any
 * being written; where there are none like that (a block device does not grow), they are marked as
 * zeroes in the map, or made so where the map cannot say it.
 */
#include "block/drivers/qcow2/resize.h"

#include "block/drivers/qcow2/alloc.h"
#include "block/drivers/qcow2/refcount.h"
#include "util/error.h"
#include "util/range.h"

#include <errno.h>

#define ALL_SUBCLUSTERS UINT64_C(0xffffffff)

/* How many entries from the first one on have no room in the file. */
static unsigned count_without_room(const Qcow2State *s, const Qcow2Slice *slice, unsigned max)
{
    unsigned n = 0;

    while (n < max) {
        Qcow2Entry entry = qcow2_map_entry(s, slice, n);

        if ((entry.descriptor & (QCOW2_COMPRESSED | QCOW2_COPIED)) || qcow2_entry_host(entry)) {
            break;
        }
        n++;
    }
    return n;
}

/* Version 2 cannot say that they are zeroes: they become so. */
static int co_make_zeroes(BlockNode *node, int64_t host, int64_t bytes)
{
    int ret = co_block_write_zeroes(node->file, host, bytes, 0);

    if (ret < 0) {
        co_qcow2_free_clusters(node, host, bytes, QCOW2_DISCARD_NEVER);
        return ret;
    }
    qcow2_cache_depend_on_flush(qcow2_state(node)->l2_cache); /* O3 */
    return 0;
}

/* Clusters wherever they are free; what they hold is not known. */
static int64_t co_take_any_room(BlockNode *node, unsigned *count, bool *fresh)
{
    Qcow2State *s = qcow2_state(node);
    int64_t host = co_qcow2_alloc_clusters(node, s->cluster_size), more;
    int ret;

    if (host < 0) {
        return host;
    }
    more = co_qcow2_alloc_clusters_at(node, host + s->cluster_size, *count - 1);
    *count = 1 + MAX(more, 0);
    *fresh = s->header.version < 3;
    ret = *fresh ? co_make_zeroes(node, host, *count * s->cluster_size) : 0;
    return ret < 0 ? ret : host;
}

/* Clusters that read as zeroes, or others; *fresh says which. */
static int64_t co_take_room(BlockNode *node, int64_t guest, unsigned *count, bool *fresh)
{
    Qcow2State *s = qcow2_state(node);
    int64_t at = s->fresh_from, got;

    *fresh = false;
    if (s->external_data) {
        return guest;
    }
    got = co_qcow2_alloc_clusters_at(node, at, *count);
    if (got > 0) {
        *count = got;
        *fresh = true;
        return at;
    }
    return got < 0 && got != -ENOSPC ? got : co_take_any_room(node, count, fresh);
}

/* @old is kept where it says zero; what shows through from below does not become zeroes. */
static Qcow2Entry roomy_entry(const Qcow2State *s, Qcow2Entry old, int64_t host, bool fresh)
{
    bool zero = s->extended_l2 ? old.bitmap != 0 : (old.descriptor & QCOW2_ZERO) != 0;
    Qcow2Entry entry = { .descriptor = host | QCOW2_COPIED, .bitmap = old.bitmap };

    if (s->extended_l2) {
        if (!zero) {
            entry.bitmap = fresh ? ALL_SUBCLUSTERS : ALL_SUBCLUSTERS << QCOW2_SUBCLUSTERS;
        }
    } else if ((zero || !fresh) && s->header.version >= 3) {
        entry.descriptor |= QCOW2_ZERO;
    }
    return entry;
}

/* From @offset on, within one slice; *done: bytes that have room now.  Lock held. */
static int co_fill_piece(BlockNode *node, int64_t offset, int64_t end, int64_t *done)
{
    Qcow2State *s = qcow2_state(node);
    int64_t host;
    bool fresh;
    unsigned count;
    Qcow2Slice slice;
    int ret = co_qcow2_map_get(node, offset, &slice);

    if (ret < 0) {
        return ret;
    }
    count = MIN(units_covering(end - offset, s->cluster_size), slice.entries);
    count = count_without_room(s, &slice, count);
    *done = s->cluster_size;
    if (count == 0) {
        qcow2_map_put(node, &slice);
        return 0;
    }
    host = co_take_room(node, offset, &count, &fresh);
    for (unsigned i = 0; i < count && host >= 0; i++) {
        qcow2_map_set_entry(node, &slice, i,
                            roomy_entry(s, qcow2_map_entry(s, &slice, i),
                                        host + i * s->cluster_size, fresh || s->raw_external));
    }
    qcow2_map_put(node, &slice);
    *done = count * s->cluster_size;
    return MIN(host, 0);
}

static int co_fill(BlockNode *node, int64_t offset, int64_t end)
{
    Qcow2State *s = qcow2_state(node);
    int64_t done;
    int ret = 0;

    for (offset = align_down(offset, s->cluster_size); offset < end && ret == 0; offset += done) {
        done = 0;
        co_mutex_lock(&s->lock);
        ret = s->broken ? -EIO : co_fill_piece(node, offset, end, &done);
        co_mutex_unlock(&s->lock);
    }
    return ret;
}

/* Bytes of the file that the clusters and the tables for them will take, at most. */
static int64_t room_needed(const Qcow2State *s, int64_t bytes)
{
    int64_t clusters = units_covering(bytes, s->cluster_size) + 1;
    int64_t l2 = (clusters >> s->l2_bits) + 2;
    int64_t refblocks = ((clusters + l2) >> s->refblock_bits) + 2;

    return (clusters + l2 + refblocks) << s->cluster_bits;
}

/* falloc, full: the file gets the room at once, from where it is in use on. */
static int co_reserve(BlockNode *node, int64_t bytes, PreallocMode mode, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    int64_t used = align_up(s->file_used, s->cluster_size), needed = room_needed(s, bytes);

    if (s->external_data || mode == PREALLOC_MODE_OFF || mode == PREALLOC_MODE_METADATA) {
        return 0;
    }
    if (needed > BLOCK_MAX_SIZE - used) {
        tm_error_set(errp, "Failed to resize underlying file: it would be too large");
        return -EFBIG;
    }
    if ((node->file->node->size > used &&
         !co_block_truncate(node->file, used, false, PREALLOC_MODE_OFF, errp)) ||
        !co_block_truncate(node->file, used + needed, false, mode, errp)) {
        g_prefix_error(errp, "Failed to resize underlying file: ");
        return -ENOSPC;
    }
    return 0;
}

int co_qcow2_preallocate(BlockNode *node, int64_t offset, int64_t bytes, PreallocMode mode,
                         GError **errp)
{
    int ret = co_reserve(node, bytes, mode, errp);

    if (ret == 0) {
        ret = co_fill(node, offset, offset + bytes);
        if (ret < 0) {
            tm_error_set_errno(errp, -ret, "Failed to allocate data clusters");
        }
    }
    return ret;
}
