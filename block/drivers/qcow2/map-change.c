/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changing the map: L2 tables that may be written, L1 and its size; see map.h.
 *
 * Invariants.
 *   - An L2 slice is changed only where L1 has the COPIED bit for its table: the table is ours
 *     alone. One that a snapshot shares is copied first.
 *   - L1 on disk is behind: changed entries wait in [l1_dirty_first, l1_dirty_end) until the
 *     metadata is written, after L2 (O4).
 */
#include "util/big-endian.h"
#include "block/drivers/qcow2/map.h"
#include "block/drivers/qcow2/overlap.h"
#include "block/drivers/qcow2/refcount.h"
#include "util/error.h"

#include <errno.h>
#include <stdlib.h>

/* --- L1 ----------------------------------------------------------------------------------- */

void qcow2_l1_set(Qcow2State *s, uint32_t index, uint64_t entry)
{
    bool clean = s->l1_dirty_first == s->l1_dirty_end;

    s->l1[index] = entry;
    qcow2_overlap_add_table(s, entry & QCOW2_OFFSET_MASK);
    s->l1_dirty_first = clean ? index : MIN(s->l1_dirty_first, index);
    s->l1_dirty_end = clean ? index + 1 : MAX(s->l1_dirty_end, index + 1);
}

static int co_write_entries(BlockNode *node, unsigned area, int64_t offset, uint32_t first,
                            uint32_t end)
{
    const Qcow2State *s = qcow2_state(node);
    g_autofree uint64_t *disk = g_new(uint64_t, end - first);

    for (uint32_t i = first; i < end; i++) {
        disk[i - first] = htobe64(s->l1[i]);
    }
    return co_qcow2_write_meta(node, area, offset + first * sizeof(*disk), disk,
                               (end - first) * sizeof(*disk));
}

int co_qcow2_l1_write(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    int ret;

    if (s->l1_dirty_first == s->l1_dirty_end) {
        return 0;
    }
    ret = co_qcow2_cache_write(s->l2_cache);
    if (ret == 0) {
        ret = co_qcow2_flush_files(node);
    }
    if (ret == 0) {
        ret = co_write_entries(node, QCOW2_AREA_ACTIVE_L1, s->header.l1_offset, s->l1_dirty_first,
                               s->l1_dirty_end);
    }
    if (ret == 0) {
        s->l1_dirty_first = s->l1_dirty_end = 0;
    }
    return ret;
}

/*
 * The header refers to the table at @offset; if that fails it keeps the old one, and both tables
 * stay: which one the file names is not known.
 */
static int co_switch_l1(BlockNode *node, int64_t offset, uint32_t entries)
{
    Qcow2State *s = qcow2_state(node);
    int64_t old_offset = s->header.l1_offset;
    uint32_t old_size = s->header.l1_size;
    int ret = co_qcow2_flush_files(node);

    if (ret < 0) {
        return ret;
    }
    s->header.l1_offset = offset;
    s->header.l1_size = entries;
    ret = co_qcow2_header_commit(node);
    if (ret < 0) {
        s->header.l1_offset = old_offset;
        s->header.l1_size = old_size;
        co_qcow2_header_take_back(node);
    }
    return ret;
}

/* A copy of L1 with @entries entries in new clusters; all that it refers to is on disk. */
static int64_t co_copy_l1(BlockNode *node, uint32_t entries)
{
    int64_t offset = co_qcow2_alloc_clusters(node, (int64_t)entries * sizeof(uint64_t));
    int ret = offset < 0 ? offset : co_qcow2_write_metadata(node);

    if (ret == 0) {
        ret = co_write_entries(node, 0, offset, 0, entries);
    }
    if (ret < 0 && offset > 0) {
        co_qcow2_free_clusters(node, offset, (int64_t)entries * sizeof(uint64_t),
                               QCOW2_DISCARD_OTHER);
    }
    return ret < 0 ? ret : offset;
}

static int co_grow_l1(BlockNode *node, uint32_t entries)
{
    Qcow2State *s = qcow2_state(node);
    int64_t old_offset = s->header.l1_offset, offset;
    uint32_t old_size = s->header.l1_size;
    int ret;

    s->l1 = g_renew(uint64_t, s->l1, entries);
    memset(s->l1 + old_size, 0, (entries - old_size) * sizeof(*s->l1));
    offset = co_copy_l1(node, entries);
    if (offset < 0) {
        return offset;
    }
    ret = co_switch_l1(node, offset, entries);
    if (ret < 0) {
        return ret;
    }
    if (old_size) {
        co_qcow2_free_clusters(node, old_offset, (int64_t)old_size * sizeof(uint64_t),
                               QCOW2_DISCARD_OTHER);
    }
    return 0;
}

bool co_qcow2_l1_grow(BlockNode *node, uint32_t entries, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    int ret;

    if (entries <= s->header.l1_size) {
        return true;
    }
    ret = entries > QCOW2_MAX_L1_BYTES / (int64_t)sizeof(uint64_t) ? -EFBIG
                                                                   : co_grow_l1(node, entries);
    return ret == 0 || tm_error_set_errno(errp, -ret, "Failed to grow the L1 table");
}

/* --- L2 ----------------------------------------------------------------------------------- */

/* Fills slice @offset of a new table: from the old one, or with zeroes. */
static int co_fill_slice(BlockNode *node, int64_t offset, int64_t old_offset)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Table *old = NULL, *new;
    int ret = old_offset ? co_qcow2_cache_get(s->l2_cache, old_offset, &old) : 0;

    if (ret < 0) {
        return ret;
    }
    ret = co_qcow2_cache_get_new(s->l2_cache, offset, &new);
    if (ret == 0) {
        if (old) {
            memcpy(new->data, old->data, qcow2_cache_table_size(s->l2_cache));
        }
        qcow2_cache_put(s->l2_cache, new);
    }
    if (old) {
        qcow2_cache_put(s->l2_cache, old);
    }
    return ret;
}

static int co_fill_table(BlockNode *node, int64_t offset, int64_t old_offset)
{
    Qcow2State *s = qcow2_state(node);
    int64_t step = qcow2_cache_table_size(s->l2_cache);
    int ret = 0;

    for (int64_t at = 0; at < s->cluster_size && ret == 0; at += step) {
        ret = co_fill_slice(node, offset + at, old_offset ? old_offset + at : 0);
    }
    return ret;
}

/* The old table's count may go down only when L1 on disk refers to the new one (O2). */
static int co_drop_table(BlockNode *node, int64_t offset)
{
    Qcow2State *s = qcow2_state(node);
    int ret = co_qcow2_write_metadata(node);

    if (ret == 0) {
        ret = co_qcow2_flush_files(node);
    }
    if (ret == 0) {
        co_qcow2_free_clusters(node, offset, s->cluster_size, QCOW2_DISCARD_OTHER);
    }
    return ret;
}

/* A table of our own for L1 entry @index: a new one, or a copy of the one that is shared. */
static int co_own_table(BlockNode *node, uint32_t index)
{
    Qcow2State *s = qcow2_state(node);
    int64_t old = s->l1[index] & QCOW2_OFFSET_MASK;
    int64_t offset = co_qcow2_alloc_clusters(node, s->cluster_size);
    int ret;

    if (offset < 0) {
        return offset;
    }
    ret = co_fill_table(node, offset, old);
    if (ret < 0) {
        qcow2_cache_forget(s->l2_cache, offset, s->cluster_size);
        co_qcow2_free_clusters(node, offset, s->cluster_size, QCOW2_DISCARD_OTHER);
        return ret;
    }
    qcow2_l1_set(s, index, offset | QCOW2_COPIED);
    return old ? co_drop_table(node, old) : 0;
}

int co_qcow2_map_get(BlockNode *node, int64_t offset, Qcow2Slice *slice)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t l1_index = (uint64_t)offset >> (s->l2_bits + s->cluster_bits);
    unsigned l2_index = offset >> s->cluster_bits & ((1u << s->l2_bits) - 1);
    int64_t table;
    int ret = 0;

    if (l1_index >= s->header.l1_size) {
        return -EIO;
    }
    table = s->l1[l1_index] & QCOW2_OFFSET_MASK;
    if (qcow2_in_cluster(s, table)) {
        return co_qcow2_corrupt(node, true, -1, -1,
                                "L2 table offset %#" PRIx64 " unaligned (L1 index: %#" PRIx64 ")",
                                table, l1_index);
    }
    if (!(s->l1[l1_index] & QCOW2_COPIED) || table == 0) {
        ret = co_own_table(node, l1_index);
        table = s->l1[l1_index] & QCOW2_OFFSET_MASK;
    }
    slice->index = l2_index & ((1u << s->slice_bits) - 1);
    slice->entries = (1u << s->slice_bits) - slice->index;
    return ret < 0 ? ret
                   : co_qcow2_cache_get(s->l2_cache,
                                        table + ((int64_t)(l2_index - slice->index)
                                                 << s->l2_entry_bits),
                                        &slice->table);
}

void qcow2_map_put(BlockNode *node, Qcow2Slice *slice)
{
    qcow2_cache_put(qcow2_state(node)->l2_cache, slice->table);
    slice->table = NULL;
}

void qcow2_map_set_entry(BlockNode *node, const Qcow2Slice *slice, unsigned i, Qcow2Entry entry)
{
    Qcow2State *s = qcow2_state(node);
    uint8_t *at = (uint8_t *)slice->table->data +
                  ((size_t)(slice->index + i) << s->l2_entry_bits);

    put_be64(at, entry.descriptor);
    if (s->extended_l2) {
        put_be64(at + 8, entry.bitmap);
    }
    qcow2_cache_dirty(s->l2_cache, slice->table);
}
