/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All refcounts anew: blocks and a table behind everything that the file holds, counted from the
 * references alone.  The header points to them once they are on disk; until then the image is as it
 * was.  The old structures are free after it.
 *
 * Blocks that would be all zero are left out.  From cluster number `start` on the new structure
 * counts itself: the blocks for that part (the tail) come last, since their number depends on how
 * many come before.
 */
#include "block/drivers/qcow2/check-int.h"

#include <errno.h>
#include <string.h>

#include "block/drivers/qcow2/header.h"
#include "block/drivers/qcow2/refcount.h"

typedef struct Rebuild {
    Qcow2Checker *c;
    int64_t start;     /* cluster where the new structure begins: behind the file's end */
    int64_t used;      /* clusters of it so far */
    int64_t tail_block; /* index of the block that covers start */
    uint8_t *tail;     /* that block */
    uint64_t *table;   /* room for the largest table; host byte order */
    uint32_t entries;
} Rebuild;

#define MAX_ENTRIES (QCOW2_MAX_REFCOUNT_TABLE_BYTES / 8)

static int64_t place(const Rebuild *r, int64_t nth)
{
    return (r->start + nth) << r->c->s->cluster_bits;
}

static int co_append(Rebuild *r, const void *buf, size_t len)
{
    BlockNode *node = r->c->node;
    int64_t at = place(r, r->used);
    int64_t clusters = (len + r->c->s->cluster_size - 1) >> r->c->s->cluster_bits;
    int ret = co_qcow2_file_grow(node, at + (clusters << r->c->s->cluster_bits));

    if (ret == 0) {
        ret = co_block_write_buf(node->file, at, buf, len, 0);
    }
    r->used += clusters;
    /* If the rebuild fails its clusters are free, and no zeroes. */
    r->c->s->fresh_from = MAX(r->c->s->fresh_from, place(r, r->used));
    return ret;
}

static int co_append_block(Rebuild *r, int64_t index, const void *block)
{
    r->table[index] = place(r, r->used);
    return co_append(r, block, r->c->s->cluster_size);
}

/* --- what is referred to --- */

/* Encodes the counts of block @index into @block; whether any is not 0. */
static bool encode_block(const Rebuild *r, int64_t index, void *block)
{
    const Qcow2Checker *c = r->c;
    int64_t from = index << c->s->refblock_bits;
    int64_t to = MIN(from + (INT64_C(1) << c->s->refblock_bits), c->end);
    bool any = false;

    memset(block, 0, c->s->cluster_size);
    for (int64_t i = from; i < to; i++) {
        uint32_t count = c->counts[i - c->first];
        if (count) {
            qcow2_refcount_set_entry(block, c->s->refcount_bits, i - from, count);
            any = true;
        }
    }
    return any;
}

static int co_write_range(Rebuild *r)
{
    Qcow2Checker *c = r->c;
    int64_t last = (c->end - 1) >> c->s->refblock_bits;
    int ret = 0;

    for (int64_t i = c->first >> c->s->refblock_bits; i <= last && ret == 0; i++) {
        ret = co_qcow2_check_work(c, c->s->cluster_size);
        if (ret < 0) {
            return ret;
        }
        if (i == r->tail_block) {
            encode_block(r, i, r->tail);
        } else if (encode_block(r, i, c->block)) {
            ret = co_append_block(r, i, c->block);
        }
    }
    return ret;
}

static int co_write_references(Rebuild *r)
{
    Qcow2Checker *c = r->c;
    int ret = 0;

    c->skip_refcounts = true;
    c->report = false;
    for (int64_t first = 0; first < c->limit && ret == 0; first += QCOW2_CHECK_RANGE) {
        ret = co_qcow2_check_count(c, first);
        if (ret == 0) {
            ret = co_write_range(r);
        }
    }
    c->skip_refcounts = false;
    return ret;
}

/* --- the new structure itself --- */

static int64_t table_clusters(const Rebuild *r, int64_t entries)
{
    return qcow2_cluster_end(r->c->s, entries * 8) >> r->c->s->cluster_bits;
}

/* How many blocks the tail takes, so that they cover themselves and the table. */
static int64_t tail_blocks(const Rebuild *r)
{
    for (int64_t n = 1; r->tail_block + n <= MAX_ENTRIES; n++) {
        int64_t end = r->start + r->used + n + table_clusters(r, r->tail_block + n);

        if (end <= (r->tail_block + n) << r->c->s->refblock_bits) {
            return n;
        }
    }
    return -EFBIG;
}

/* Counts the clusters from start to @end in the block of @index. */
static void count_itself(const Rebuild *r, int64_t index, int64_t end, void *block)
{
    int64_t from = index << r->c->s->refblock_bits;
    int64_t to = MIN(from + (INT64_C(1) << r->c->s->refblock_bits), end);

    for (int64_t i = MAX(from, r->start); i < to; i++) {
        qcow2_refcount_set_entry(block, r->c->s->refcount_bits, i - from, 1);
    }
}

static int co_write_tail(Rebuild *r)
{
    int64_t n = tail_blocks(r), end;
    int ret = n < 0 ? n : 0;

    r->entries = r->tail_block + n;
    end = r->start + r->used + n + table_clusters(r, r->entries);
    for (int64_t i = 0; i < n && ret == 0; i++) {
        if (i > 0) {
            memset(r->tail, 0, r->c->s->cluster_size);
        }
        count_itself(r, r->tail_block + i, end, r->tail);
        ret = co_append_block(r, r->tail_block + i, r->tail);
    }
    return ret;
}

static int co_write_table(Rebuild *r, int64_t *offset)
{
    g_autofree uint8_t *buf = g_try_malloc0(table_clusters(r, r->entries)
                                            << r->c->s->cluster_bits);

    if (!buf) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < r->entries; i++) {
        qcow2_check_put_be64(buf, i, r->table[i]);
    }
    *offset = place(r, r->used);
    return co_append(r, buf, table_clusters(r, r->entries) << r->c->s->cluster_bits);
}

/* --- changing over --- */

/* The file has a new end, and the state's tables are what was written. */
static int co_reload(Rebuild *r)
{
    Qcow2Checker *c = r->c;
    g_autoptr(GError) error = NULL;

    qcow2_refcount_close(c->node);
    if (!co_qcow2_refcount_open(c->node, &error)) {
        qcow2_check_tell(c, "%s", error->message);
        c->s->broken = true;
        return -EIO;
    }
    c->clusters = r->start + r->used;
    c->file_bytes = MAX(c->node->file->node->size, c->clusters << c->s->cluster_bits);
    c->limit = c->clusters + 1;
    g_free(c->counts);
    c->counts = g_try_new(uint32_t, MIN(c->limit, QCOW2_CHECK_RANGE));
    return c->counts ? 0 : -ENOMEM;
}

static int co_change_over(Rebuild *r, int64_t table_offset)
{
    Qcow2Header *header = &r->c->s->header;
    int64_t old_offset = header->refcount_table_offset;
    uint32_t old_clusters = header->refcount_table_clusters;
    int ret = co_qcow2_flush_files(r->c->node);

    if (ret < 0) {
        return ret;
    }
    header->refcount_table_offset = table_offset;
    header->refcount_table_clusters = table_clusters(r, r->entries);
    ret = co_qcow2_header_commit(r->c->node);
    if (ret < 0) {
        header->refcount_table_offset = old_offset;
        header->refcount_table_clusters = old_clusters;
        co_qcow2_header_take_back(r->c->node);
        return ret;
    }
    return co_reload(r);
}

static int co_rebuild(Rebuild *r)
{
    int64_t table_offset = 0;
    int ret = co_write_references(r);

    if (ret == 0) {
        ret = co_write_tail(r);
    }
    if (ret == 0) {
        ret = co_write_table(r, &table_offset);
    }
    return ret < 0 ? ret : co_change_over(r, table_offset);
}

int co_qcow2_check_rebuild(Qcow2Checker *c)
{
    Rebuild r = { .c = c, .start = c->limit,
                  .tail_block = c->limit >> c->s->refblock_bits };
    int ret = -EFBIG;

    if (r.tail_block < MAX_ENTRIES) {
        r.tail = g_try_malloc0(c->s->cluster_size);
        r.table = g_try_new0(uint64_t, MAX_ENTRIES);
        ret = r.tail && r.table ? co_rebuild(&r) : -ENOMEM;
    }
    g_free(r.tail);
    g_free(r.table);
    return ret;
}
