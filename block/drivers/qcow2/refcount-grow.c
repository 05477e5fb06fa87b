/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * New refcount blocks, and a larger refcount table; see refcount.h.
 *
 * A block is complete on disk before the table refers to it, and a table before the header does.
 * A new block lies in the first free cluster.  It may count itself; where its own cluster is
 * counted by another block that is missing, that one is made first (in the same place, counting
 * itself).
 *
 * A new table is made behind all that the old one covers, together with the blocks that count it:
 * there nothing is in use, so a crash before the header is written leaves nothing behind.
 */
#include "util/big-endian.h"
#include "block/drivers/qcow2/overlap.h"
#include "block/drivers/qcow2/refcount.h"
#include "util/range.h"

#include <errno.h>
#include <stdlib.h>

/* --- one block ---------------------------------------------------------------------------- */

/* Writes a table entry, after all that it leads to. */
static int co_hook_up(BlockNode *node, uint64_t index, int64_t offset)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t entry;
    int ret = co_qcow2_cache_write(s->refcount_cache);

    if (ret == 0) {
        ret = co_qcow2_flush_files(node);
    }
    if (ret < 0) {
        return ret;
    }
    put_be64(&entry, offset);
    ret = co_qcow2_write_meta(node, QCOW2_AREA_REFCOUNT_TABLE,
                              s->header.refcount_table_offset + index * sizeof(entry), &entry,
                              sizeof(entry));
    if (ret == 0) {
        s->refcount_table[index] = offset;
        qcow2_overlap_add_table(s, offset);
        ret = co_qcow2_flush_files(node);
    }
    return ret;
}

/* Counts the new block's own cluster, in itself or in the block that is there for it. */
static int co_count_block(BlockNode *node, Qcow2Table *block, uint64_t index, int64_t cluster)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t mask = (UINT64_C(1) << s->refblock_bits) - 1;
    Qcow2Table *other;
    int ret;

    if ((uint64_t)cluster >> s->refblock_bits == index) {
        qcow2_refcount_set_entry(block->data, s->refcount_bits, cluster & mask, 1);
        return 0;
    }
    ret = co_qcow2_refblock_get(node, cluster, &other);
    if (ret == 0) {
        qcow2_refcount_set_entry(other->data, s->refcount_bits, cluster & mask, 1);
        qcow2_cache_dirty(s->refcount_cache, other);
        qcow2_cache_put(s->refcount_cache, other);
    }
    return ret;
}

static int co_make_block(BlockNode *node, uint64_t index, int64_t cluster)
{
    Qcow2State *s = qcow2_state(node);
    int64_t offset = cluster << s->cluster_bits;
    Qcow2Table *block;
    int ret = co_qcow2_file_grow(node, offset + s->cluster_size);

    s->fresh_from = MAX(s->fresh_from, offset + s->cluster_size);
    if (ret == 0) {
        ret = co_qcow2_cache_get_new(s->refcount_cache, offset, &block);
    }
    if (ret < 0) {
        return ret;
    }
    ret = co_count_block(node, block, index, cluster);
    qcow2_cache_put(s->refcount_cache, block);
    if (ret == 0) {
        ret = co_hook_up(node, index, offset);
    }
    if (ret < 0) {
        qcow2_cache_forget(s->refcount_cache, offset, s->cluster_size);
    }
    return ret;
}

/* Makes the block @index, or the one that must be there before it. */
static int co_make_missing(BlockNode *node, uint64_t index)
{
    Qcow2State *s = qcow2_state(node);
    int64_t cluster = co_qcow2_find_free(node, s->free_cluster_hint);
    uint64_t own;

    if (cluster == 0) {
        return co_qcow2_corrupt(node, true, -1, -1,
                                "Preventing invalid allocation of refcount block at offset 0");
    }
    if (cluster < 0) {
        return cluster;
    }
    own = (uint64_t)cluster >> s->refblock_bits;
    if (own < s->refcount_table_size && s->refcount_table[own] == 0) {
        index = own;
    } else if (own >= s->refcount_table_size) {
        return -EAGAIN; /* no room within the table: make it larger */
    }
    return co_make_block(node, index, cluster);
}

/* --- a larger table ----------------------------------------------------------------------- */

/* A new table with the blocks that count it, one behind the other in the file. */
typedef struct Area {
    int64_t start;        /* cluster number */
    uint64_t first_block; /* index of the first of the blocks */
    int64_t blocks;
    int64_t table_clusters;
    uint64_t entries;
} Area;

static int plan_area(const Qcow2State *s, uint64_t last_index, Area *area)
{
    int64_t per_cluster = s->cluster_size / sizeof(uint64_t), blocks;

    area->start = (int64_t)s->refcount_table_size << s->refblock_bits;
    area->first_block = s->refcount_table_size;
    area->blocks = 1;
    do {
        blocks = area->blocks;
        area->entries = MAX(MAX(last_index + 1, area->first_block + blocks),
                            s->refcount_table_size + (uint64_t)s->refcount_table_size / 2 + 1);
        area->table_clusters = units_covering(area->entries, per_cluster);
        area->blocks = units_covering(area->table_clusters + blocks,
                                      INT64_C(1) << s->refblock_bits);
        area->blocks = MAX(area->blocks, blocks);
    } while (area->blocks != blocks);
    area->entries = area->table_clusters * per_cluster;
    return area->table_clusters > QCOW2_MAX_REFCOUNT_TABLE_BYTES >> s->cluster_bits ? -EFBIG : 0;
}

static int co_write_blocks(BlockNode *node, const Area *area)
{
    Qcow2State *s = qcow2_state(node);
    int64_t used = area->blocks + area->table_clusters;
    int ret = 0;

    for (int64_t i = 0; i < area->blocks && ret == 0; i++) {
        int64_t offset = (area->start + i) << s->cluster_bits;
        Qcow2Table *block;

        ret = co_qcow2_cache_get_new(s->refcount_cache, offset, &block);
        if (ret == 0) {
            for (int64_t k = 0; k < MIN(used, INT64_C(1) << s->refblock_bits); k++) {
                qcow2_refcount_set_entry(block->data, s->refcount_bits, k, 1);
            }
            qcow2_cache_put(s->refcount_cache, block);
            used -= MIN(used, INT64_C(1) << s->refblock_bits);
        }
    }
    return ret < 0 ? ret : co_qcow2_cache_write(s->refcount_cache);
}

/* The new table in memory, host byte order. */
static uint64_t *new_table(const Qcow2State *s, const Area *area)
{
    uint64_t *table = g_new0(uint64_t, area->entries);

    memcpy(table, s->refcount_table, s->refcount_table_size * sizeof(*table));
    for (int64_t i = 0; i < area->blocks; i++) {
        table[area->first_block + i] = (area->start + i) << s->cluster_bits;
    }
    return table;
}

static int co_write_table(BlockNode *node, const uint64_t *table, uint64_t entries,
                          int64_t offset)
{
    g_autofree uint64_t *disk = g_new(uint64_t, entries);

    for (uint64_t i = 0; i < entries; i++) {
        disk[i] = htobe64(table[i]);
    }
    return co_qcow2_write_meta(node, 0, offset, disk, entries * sizeof(*disk));
}

/* The header refers to the new table; if that fails it keeps the old one. */
static int co_switch_table(BlockNode *node, int64_t offset, int64_t clusters)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Header old = s->header;
    int ret = co_qcow2_flush_files(node);

    if (ret < 0) {
        return ret;
    }
    s->header.refcount_table_offset = offset;
    s->header.refcount_table_clusters = clusters;
    ret = co_qcow2_header_commit(node);
    if (ret < 0) {
        s->header.refcount_table_offset = old.refcount_table_offset;
        s->header.refcount_table_clusters = old.refcount_table_clusters;
        co_qcow2_header_take_back(node);
    }
    return ret;
}

static int co_grow_table(BlockNode *node, uint64_t last_index)
{
    Qcow2State *s = qcow2_state(node);
    int64_t old_offset = s->header.refcount_table_offset, offset;
    int64_t old_bytes = (int64_t)s->header.refcount_table_clusters << s->cluster_bits, end;
    uint64_t *table;
    Area area;
    int ret = plan_area(s, last_index, &area);

    if (ret < 0) {
        return ret;
    }
    table = new_table(s, &area);
    offset = (area.start + area.blocks) << s->cluster_bits;
    end = offset + (area.table_clusters << s->cluster_bits);
    s->fresh_from = MAX(s->fresh_from, end);
    ret = co_qcow2_file_grow(node, end);
    if (ret == 0) {
        ret = co_write_blocks(node, &area);
    }
    if (ret == 0) {
        ret = co_write_table(node, table, area.entries, offset);
    }
    if (ret == 0) {
        ret = co_switch_table(node, offset, area.table_clusters);
    }
    if (ret < 0) {
        qcow2_cache_forget(s->refcount_cache, area.start << s->cluster_bits,
                           area.blocks << s->cluster_bits);
        g_free(table);
        return ret;
    }
    g_free(s->refcount_table);
    s->refcount_table = table;
    s->refcount_table_size = area.entries;
    qcow2_overlap_forget_tables(s);
    co_qcow2_free_clusters(node, old_offset, old_bytes, QCOW2_DISCARD_OTHER);
    return 0;
}

/* --- all that a run of clusters needs ----------------------------------------------------- */

int co_qcow2_refblocks_make(BlockNode *node, int64_t cluster, int64_t count)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t index = (uint64_t)cluster >> s->refblock_bits;
    uint64_t last = (uint64_t)(cluster + count - 1) >> s->refblock_bits;
    int made = 0;

    while (index <= last) {
        int ret;

        if (last < s->refcount_table_size && s->refcount_table[index]) {
            index++;
            continue;
        }
        ret = last < s->refcount_table_size ? co_make_missing(node, index) : -EAGAIN;
        if (ret == -EAGAIN) {
            ret = co_grow_table(node, MAX(last, s->refcount_table_size));
        }
        if (ret < 0) {
            return ret;
        }
        made = 1;
    }
    return made;
}
