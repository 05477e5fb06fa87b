/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table and the data of one stored bitmap; see bitmap-data.h. */
#include "block/drivers/qcow2/bitmap-data.h"

#include <errno.h>
#include <stdlib.h>

#include "util/big-endian.h"
#include "block/drivers/qcow2/refcount.h"
#include "util/range.h"

#define ALL_ONES UINT64_C(1)
#define ENTRY_SIZE 8

/* Bits that a cluster of data holds. */
static uint64_t bits_of_cluster(const Qcow2State *s)
{
    return (uint64_t)s->cluster_size * 8;
}

/* Is all of that range in the file?  What lies behind its end would read as "clean". */
static bool in_file(const BlockNode *node, int64_t offset, int64_t bytes)
{
    return range_valid(offset, bytes, node->file->node->size);
}

/* --- reading --- */

static int co_read_table(BlockNode *node, const Qcow2BitmapEntry *entry, uint8_t **table)
{
    int64_t bytes = (int64_t)entry->table_size * ENTRY_SIZE;
    int ret;

    if (!in_file(node, entry->table_offset, bytes)) {
        return -EINVAL;
    }
    *table = g_try_malloc(bytes);
    if (!*table) {
        return -ENOMEM;
    }
    ret = co_qcow2_read_file(node, entry->table_offset, *table, bytes);
    if (ret < 0) {
        g_free(*table);
    }
    return ret;
}

/* Sets the bits of @buf (least significant first) from @first on, @count of them. */
static void bits_from_bytes(SparseBitmap *bits, uint64_t first, uint64_t count, const uint8_t *buf)
{
    uint64_t at = 0;

    while (at < count) {
        uint64_t start = at;
        uint8_t byte = buf[at / 8];

        if (at % 8 == 0 && (byte == 0x00 || byte == 0xff)) {
            while (at < count && buf[at / 8] == byte) {
                at += 8;
            }
            at = MIN(at, count);
        } else {
            at++;
        }
        if (byte >> (start % 8) & 1) {
            sparse_bitmap_set(bits, first + start, at - start);
        }
    }
}

static int co_read_cluster(BlockNode *node, SparseBitmap *bits, uint64_t first, uint64_t count,
                           uint64_t entry, uint8_t *buf)
{
    const Qcow2State *s = qcow2_state(node);
    int64_t offset;
    bool all_ones;
    int ret;

    if (!qcow2_bitmap_table_entry(entry, s->cluster_size, &offset, &all_ones)) {
        return -EINVAL;
    }
    if (all_ones) {
        sparse_bitmap_set(bits, first, count);
    }
    if (offset == 0) {
        return 0;
    }
    if (!in_file(node, offset, s->cluster_size)) {
        return -EINVAL;
    }
    ret = co_qcow2_read_file(node, offset, buf, s->cluster_size);
    if (ret == 0) {
        bits_from_bytes(bits, first, count, buf);
    }
    return ret;
}

static int co_read_bits(BlockNode *node, const uint8_t *table, uint32_t table_size,
                        SparseBitmap *bits, int64_t *budget)
{
    const Qcow2State *s = qcow2_state(node);
    uint64_t step = bits_of_cluster(s), end = sparse_bitmap_size(bits);
    uint8_t *buf = block_alloc(node->file->node, s->cluster_size);
    int ret = buf ? 0 : -ENOMEM;

    for (uint32_t i = 0; i < table_size && ret == 0; i++) {
        uint64_t entry = get_be64(table + (size_t)i * ENTRY_SIZE);
        uint64_t first = i * step;

        *budget -= entry > ALL_ONES ? s->cluster_size : 0;
        ret = *budget < 0 ? -EFBIG
                          : co_read_cluster(node, bits, first, MIN(step, end - first), entry, buf);
    }
    free(buf);
    return ret;
}

int co_qcow2_bitmap_read(BlockNode *node, const Qcow2BitmapEntry *entry, DirtyBitmap *bitmap,
                         int64_t *budget)
{
    SparseBitmap *bits;
    uint8_t *table;
    int ret;

    *budget -= (int64_t)entry->table_size * ENTRY_SIZE;
    if (*budget < 0) {
        return -EFBIG;
    }
    ret = co_read_table(node, entry, &table);
    if (ret < 0) {
        return ret;
    }
    bits = sparse_bitmap_new(sparse_bitmap_size(dirty_bitmap_bits(bitmap)));
    ret = co_read_bits(node, table, entry->table_size, bits, budget);
    g_free(table);
    dirty_bitmap_restore(bitmap, bits);
    return ret;
}

/* --- writing --- */

static void bits_to_bytes(const SparseBitmap *bits, uint64_t first, uint64_t count, uint8_t *buf,
                          size_t len)
{
    uint64_t at = first, run, run_len;

    memset(buf, 0, len);
    while (at < first + count && sparse_bitmap_next_run(bits, at, first + count, &run, &run_len)) {
        at = run + run_len;
        for (uint64_t bit = run - first; bit < at - first;) {
            if (bit % 8 == 0 && at - first - bit >= 8) {
                uint64_t whole = (at - first - bit) / 8;

                memset(buf + bit / 8, 0xff, whole);
                bit += whole * 8;
            } else {
                buf[bit / 8] |= 1u << bit % 8;
                bit++;
            }
        }
    }
}

/* Writes a cluster of data where it is needed; *entry is what the table says of it. */
static int co_write_cluster(BlockNode *node, const SparseBitmap *bits, uint64_t first,
                            uint64_t count, uint8_t *buf, uint64_t *entry)
{
    const Qcow2State *s = qcow2_state(node);
    uint64_t set = sparse_bitmap_count_range(bits, first, count);
    int64_t offset;
    int ret;

    *entry = set ? ALL_ONES : 0;
    if (set == 0 || set == bits_of_cluster(s)) {
        return 0;
    }
    *entry = 0;
    offset = co_qcow2_alloc_clusters(node, s->cluster_size);
    if (offset < 0) {
        return offset;
    }
    bits_to_bytes(bits, first, count, buf, s->cluster_size);
    ret = co_qcow2_write_meta(node, 0, offset, buf, s->cluster_size);
    if (ret < 0) {
        co_qcow2_free_clusters(node, offset, s->cluster_size, QCOW2_DISCARD_OTHER);
        return ret;
    }
    *entry = offset;
    return 0;
}

/* Gives back the clusters that the first @count entries of the table name; bad ones are leaked. */
static void co_free_data(BlockNode *node, const uint8_t *table, uint32_t count)
{
    const Qcow2State *s = qcow2_state(node);

    for (uint32_t i = 0; i < count; i++) {
        int64_t offset;
        bool all_ones;

        if (qcow2_bitmap_table_entry(get_be64(table + (size_t)i * ENTRY_SIZE), s->cluster_size,
                                     &offset, &all_ones) &&
            offset) {
            co_qcow2_free_clusters(node, offset, s->cluster_size, QCOW2_DISCARD_OTHER);
        }
    }
}

static int co_write_data(BlockNode *node, const SparseBitmap *bits, uint8_t *table,
                         uint32_t table_size)
{
    const Qcow2State *s = qcow2_state(node);
    uint64_t step = bits_of_cluster(s), end = sparse_bitmap_size(bits);
    uint8_t *buf = block_alloc(node->file->node, s->cluster_size);
    int ret = buf ? 0 : -ENOMEM;
    uint32_t i;

    for (i = 0; i < table_size && ret == 0; i++) {
        uint64_t entry;

        ret = co_write_cluster(node, bits, i * step, MIN(step, end - i * step), buf, &entry);
        put_be64(table + (size_t)i * ENTRY_SIZE, ret < 0 ? 0 : entry);
    }
    if (ret < 0) {
        co_free_data(node, table, i);
    }
    free(buf);
    return ret;
}

static int64_t co_write_table(BlockNode *node, const uint8_t *table, int64_t bytes)
{
    int64_t offset = co_qcow2_alloc_clusters(node, bytes);
    int ret;

    if (offset < 0) {
        return offset;
    }
    ret = co_qcow2_write_meta(node, 0, offset, table, bytes);
    if (ret < 0) {
        co_qcow2_free_clusters(node, offset, bytes, QCOW2_DISCARD_OTHER);
        return ret;
    }
    return offset;
}

int co_qcow2_bitmap_write(BlockNode *node, Qcow2BitmapEntry *entry, const DirtyBitmap *bitmap)
{
    const Qcow2State *s = qcow2_state(node);
    int64_t clusters =
        qcow2_bitmap_clusters(dirty_bitmap_size(bitmap), entry->granularity_bits, s->cluster_size);
    uint8_t *table;
    int64_t offset;
    int ret;

    if (clusters == 0 || clusters > QCOW2_MAX_BITMAP_BYTES / s->cluster_size) {
        return clusters ? -EFBIG : -EINVAL;
    }
    table = g_try_malloc(clusters * ENTRY_SIZE);
    ret = table ? co_write_data(node, dirty_bitmap_bits(bitmap), table, clusters) : -ENOMEM;
    if (ret < 0) {
        g_free(table);
        return ret;
    }
    offset = co_write_table(node, table, clusters * ENTRY_SIZE);
    if (offset < 0) {
        co_free_data(node, table, clusters);
    } else {
        entry->table_offset = offset;
        entry->table_size = clusters;
    }
    g_free(table);
    return MIN(offset, 0);
}

/* --- freeing --- */

void co_qcow2_bitmap_free(BlockNode *node, const Qcow2BitmapEntry *entry)
{
    const Qcow2State *s = qcow2_state(node);
    uint8_t *table;

    if (entry->damaged || !qcow2_bitmap_table_check(entry, s->cluster_size, NULL) ||
        co_read_table(node, entry, &table) < 0) {
        g_warning("Node '%s': the clusters of bitmap '%s' stay in use", node->name, entry->name);
        return;
    }
    co_free_data(node, table, entry->table_size);
    co_qcow2_free_clusters(node, entry->table_offset, (int64_t)entry->table_size * ENTRY_SIZE,
                           QCOW2_DISCARD_OTHER);
    g_free(table);
}
