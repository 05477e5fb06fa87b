/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Refcounts: reading and changing them, and finding free clusters; see refcount.h.
 *
 * Invariants.
 *   - Refcounts in the cache are the truth; on disk they may be too high (leaks), never too low for
 *     what is reachable there: O1 and O2 (qcow2.h) are kept by the dependencies between the caches,
 *     which are set here, before the first count changes.
 *   - No cluster before s->free_cluster_hint is free.
 *   - A cluster that is free but on s->host_io is not given out: a slow read or write of what was
 *     there before must not meet what comes after.
 */
#include "block/drivers/qcow2/refcount.h"

#include "util/big-endian.h"
#include "util/error.h"
#include "util/range.h"

#include <errno.h>
#include <stdlib.h>

/* --- entries ------------------------------------------------------------------------------ */

uint64_t qcow2_refcount_entry(const void *block, unsigned bits, uint64_t index)
{
    const uint8_t *bytes = block;

    switch (bits) {
    case 8:
        return bytes[index];
    case 16:
        return get_be16(bytes + 2 * index);
    case 32:
        return get_be32(bytes + 4 * index);
    case 64:
        return get_be64(bytes + 8 * index);
    default: {
        unsigned shift = index * bits % 8;

        return bytes[index * bits / 8] >> shift & ((1u << bits) - 1);
    }
    }
}

void qcow2_refcount_set_entry(void *block, unsigned bits, uint64_t index, uint64_t refcount)
{
    uint8_t *bytes = block;

    switch (bits) {
    case 8:
        bytes[index] = refcount;
        break;
    case 16:
        put_be16(bytes + 2 * index, refcount);
        break;
    case 32:
        put_be32(bytes + 4 * index, refcount);
        break;
    case 64:
        put_be64(bytes + 8 * index, refcount);
        break;
    default: {
        unsigned shift = index * bits % 8;
        uint8_t mask = ((1u << bits) - 1) << shift;

        bytes[index * bits / 8] = (bytes[index * bits / 8] & ~mask) | refcount << shift;
    }
    }
}

/* --- opening ------------------------------------------------------------------------------ */

bool co_qcow2_refcount_open(BlockNode *node, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    size_t bytes = (size_t)s->header.refcount_table_clusters << s->cluster_bits;
    int ret;

    s->refcount_table = g_try_malloc(bytes);
    if (!s->refcount_table) {
        return tm_error_set(errp, "Could not initialize refcount handling: out of memory");
    }
    ret = co_qcow2_read_file(node, s->header.refcount_table_offset, s->refcount_table, bytes);
    if (ret < 0) {
        return tm_error_set_errno(errp, -ret, "Could not initialize refcount handling");
    }
    s->refcount_table_size = bytes / sizeof(uint64_t);
    for (uint32_t i = 0; i < s->refcount_table_size; i++) {
        s->refcount_table[i] = be64toh(s->refcount_table[i]);
    }
    s->discards = g_array_new(false, false, sizeof(Qcow2HostIo));
    return true;
}

void qcow2_refcount_close(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);

    g_clear_pointer(&s->refcount_table, g_free);
    if (s->discards) {
        g_array_free(s->discards, true);
        s->discards = NULL;
    }
}

/* --- reading ------------------------------------------------------------------------------ */

int co_qcow2_refblock_get(BlockNode *node, int64_t cluster, Qcow2Table **block)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t index = (uint64_t)cluster >> s->refblock_bits;
    uint64_t offset;

    *block = NULL;
    if (index >= s->refcount_table_size) {
        return 0;
    }
    offset = s->refcount_table[index] & QCOW2_REFTABLE_OFFSET_MASK;
    if (offset == 0) {
        return 0;
    }
    if (qcow2_in_cluster(s, offset) || offset > (uint64_t)(INT64_MAX - s->cluster_size)) {
        return co_qcow2_corrupt(node, true, -1, -1,
                                "Refblock offset %#" PRIx64 " unaligned (reftable index: %#" PRIx64
                                ")", offset, index);
    }
    return co_qcow2_cache_get(s->refcount_cache, offset, block);
}

static uint64_t index_in_block(const Qcow2State *s, int64_t cluster)
{
    return cluster & ((INT64_C(1) << s->refblock_bits) - 1);
}

int co_qcow2_refcount_get(BlockNode *node, int64_t cluster, uint64_t *refcount)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Table *block;
    int ret = co_qcow2_refblock_get(node, cluster, &block);

    *refcount = 0;
    if (ret == 0 && block) {
        *refcount = qcow2_refcount_entry(block->data, s->refcount_bits,
                                         index_in_block(s, cluster));
        qcow2_cache_put(s->refcount_cache, block);
    }
    return ret;
}

int64_t co_qcow2_used_end(BlockNode *node, int64_t end)
{
    Qcow2State *s = qcow2_state(node);
    int64_t per_block = INT64_C(1) << s->refblock_bits, start;

    for (end = MIN(end, s->refcount_table_size * per_block); end > 0; end = start) {
        Qcow2Table *block;

        start = align_down(end - 1, per_block);
        if (co_qcow2_refblock_get(node, start, &block) < 0) {
            return end;
        }
        if (!block) {
            continue;
        }
        while (end > start && qcow2_refcount_entry(block->data, s->refcount_bits,
                                                   index_in_block(s, end - 1)) == 0) {
            end--;
        }
        qcow2_cache_put(s->refcount_cache, block);
        if (end > start) {
            return end;
        }
        co_pass();
    }
    return 0;
}

/* --- changing ----------------------------------------------------------------------------- */

static bool lazy(const Qcow2State *s)
{
    return s->lazy_refcounts && (s->header.incompatible & QCOW2_DIRTY);
}

/* What must be on disk before or after the counts: O1 and O2. */
static int co_prepare_order(BlockNode *node, int delta)
{
    Qcow2State *s = qcow2_state(node);
    int ret;

    if (s->lazy_refcounts) {
        ret = co_qcow2_mark_dirty(node);
        if (ret < 0) {
            return ret;
        }
    }
    if (delta < 0) {
        return co_qcow2_cache_depend(s->refcount_cache, s->l2_cache);
    }
    if (!lazy(s)) {
        return co_qcow2_cache_depend(s->l2_cache, s->refcount_cache);
    }
    /* Even then what was freed is given out again only when no L2 table on disk refers to it. */
    return qcow2_cache_depends(s->refcount_cache, s->l2_cache)
               ? co_qcow2_cache_write(s->refcount_cache)
               : 0;
}

/* A cluster's count fell to 0. */
static void cluster_freed(BlockNode *node, int64_t cluster, Qcow2Discard type)
{
    Qcow2State *s = qcow2_state(node);
    int64_t offset = cluster << s->cluster_bits;

    s->free_cluster_hint = MIN(s->free_cluster_hint, cluster);
    if (s->free_byte_offset >> s->cluster_bits == cluster) {
        s->free_byte_offset = 0;
    }
    qcow2_cache_forget(s->l2_cache, offset, s->cluster_size);
    qcow2_cache_forget(s->refcount_cache, offset, s->cluster_size);
    if (s->discard_passthrough[type]) {
        qcow2_discard_later(s, offset);
    }
}

static int co_add_one(BlockNode *node, int64_t cluster, int delta, Qcow2Discard type)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t index = index_in_block(s, cluster), count;
    Qcow2Table *block;
    int ret = co_qcow2_refblock_get(node, cluster, &block);

    if (ret < 0 || !block) {
        return ret < 0 ? ret : -EINVAL;
    }
    count = qcow2_refcount_entry(block->data, s->refcount_bits, index);
    if (delta < 0 ? count == 0 : count == s->refcount_max) {
        qcow2_cache_put(s->refcount_cache, block);
        return -EINVAL;
    }
    qcow2_refcount_set_entry(block->data, s->refcount_bits, index, count + delta);
    qcow2_cache_dirty(s->refcount_cache, block);
    qcow2_cache_put(s->refcount_cache, block);
    if (count + delta == 0) {
        cluster_freed(node, cluster, type);
    }
    return 0;
}

int co_qcow2_refcount_add(BlockNode *node, int64_t offset, int64_t bytes, int delta,
                          Qcow2Discard type)
{
    Qcow2State *s = qcow2_state(node);
    int64_t first = offset >> s->cluster_bits, end, done;
    int ret = 0;

    if (bytes == 0) {
        return 0;
    }
    end = ((offset + bytes - 1) >> s->cluster_bits) + 1;
    if (delta > 0) {
        ret = co_qcow2_refblocks_make(node, first, end - first);
    }
    if (ret >= 0) {
        ret = co_prepare_order(node, delta);
    }
    for (done = first; done < end && ret == 0; done++) {
        ret = co_add_one(node, done, delta, type);
    }
    if (ret < 0) {
        for (done -= 2; done >= first; done--) {
            (void)!co_add_one(node, done, -delta, QCOW2_DISCARD_NEVER);
        }
    }
    return ret;
}

/* --- finding free clusters ---------------------------------------------------------------- */

static bool in_flight(const Qcow2State *s, int64_t cluster)
{
    int64_t offset = cluster << s->cluster_bits;

    for (const Qcow2HostIo *io = s->host_io; io; io = io->next) {
        if (range_overlaps(io->offset, io->bytes, offset, s->cluster_size)) {
            return true;
        }
    }
    return false;
}

typedef enum ScanFor {
    SCAN_UNCOUNTED, /* its refcount is 0 */
    SCAN_FREE,      /* and there is no I/O in flight on it */
    SCAN_NOT_FREE,
} ScanFor;

static bool scan_matches(const Qcow2State *s, const Qcow2Table *block, int64_t cluster,
                         ScanFor what)
{
    bool zero = !block || qcow2_refcount_entry(block->data, s->refcount_bits,
                                               index_in_block(s, cluster)) == 0;

    if (what == SCAN_UNCOUNTED) {
        return zero;
    }
    return (zero && !in_flight(s, cluster)) == (what == SCAN_FREE);
}

/*
 * The scan leaves a block in which nothing was found, number @passed.  A table that names one full
 * block again and again would keep it, and the loop, busy for hours.
 */
static int co_pass_block(BlockNode *node, int64_t passed)
{
    const Qcow2State *s = qcow2_state(node);

    if (passed > qcow2_cluster_end(s, node->file->node->size) >> s->cluster_bits) {
        return co_qcow2_corrupt(node, true, -1, -1, "Refcount table names blocks more than once");
    }
    co_pass();
    return 0;
}

/* The first such cluster from @cluster on, before @end; @end: there is none. */
static int64_t co_scan(BlockNode *node, int64_t cluster, int64_t end, ScanFor what)
{
    Qcow2State *s = qcow2_state(node);
    int64_t passed = 0;

    while (cluster < end) {
        int64_t block_end = (cluster | ((INT64_C(1) << s->refblock_bits) - 1)) + 1;
        Qcow2Table *block;
        int ret = co_qcow2_refblock_get(node, cluster, &block);

        if (ret < 0) {
            return ret;
        }
        for (; cluster < MIN(end, block_end); cluster++) {
            if (scan_matches(s, block, cluster, what)) {
                end = cluster;
            }
        }
        if (block) {
            qcow2_cache_put(s->refcount_cache, block);
            ret = cluster < end ? co_pass_block(node, ++passed) : 0;
        }
        if (ret < 0) {
            return ret;
        }
    }
    return end;
}

/* Host offsets have 56 bits. */
static int64_t last_cluster(const Qcow2State *s)
{
    return INT64_C(1) << (56 - s->cluster_bits);
}

int64_t co_qcow2_find_free(BlockNode *node, int64_t cluster)
{
    int64_t end = last_cluster(qcow2_state(node));
    int64_t found = co_scan(node, cluster, end, SCAN_FREE);

    return found == end ? -EFBIG : found;
}

/* The first run of @count free clusters; the hint moves up to the first free one. */
static int64_t co_find_run(BlockNode *node, int64_t count)
{
    Qcow2State *s = qcow2_state(node);
    int64_t start = co_scan(node, s->free_cluster_hint, last_cluster(s), SCAN_UNCOUNTED);

    if (start >= 0) {
        s->free_cluster_hint = start;
    }
    for (;;) {
        int64_t used;

        start = start < 0 ? start : co_qcow2_find_free(node, start);
        if (start < 0 || count > last_cluster(s) - start) {
            return start < 0 ? start : -EFBIG;
        }
        used = co_scan(node, start, start + count, SCAN_NOT_FREE);
        if (used < 0 || used == start + count) {
            return used < 0 ? used : start;
        }
        if (used >> s->refblock_bits != start >> s->refblock_bits) {
            co_pass(); /* many blocks with holes that are too small */
        }
        start = used;
    }
}

/* --- allocating --------------------------------------------------------------------------- */

static int co_take(BlockNode *node, int64_t cluster, int64_t count)
{
    Qcow2State *s = qcow2_state(node);
    int64_t offset = cluster << s->cluster_bits, bytes = count << s->cluster_bits;
    int ret = co_qcow2_file_grow(node, offset + bytes);

    if (ret == 0) {
        s->fresh_from = MAX(s->fresh_from, offset + bytes);
        ret = co_qcow2_refcount_add(node, offset, bytes, 1, QCOW2_DISCARD_NEVER);
    }
    if (ret == 0 && s->free_cluster_hint == cluster) {
        s->free_cluster_hint = cluster + count;
    }
    return ret;
}

int64_t co_qcow2_alloc_clusters(BlockNode *node, int64_t bytes)
{
    Qcow2State *s = qcow2_state(node);
    int64_t count = (bytes + s->cluster_size - 1) >> s->cluster_bits, cluster;
    int ret;

    do {
        cluster = co_find_run(node, count);
        if (cluster < 0) {
            return cluster;
        }
        ret = co_qcow2_refblocks_make(node, cluster, count);
    } while (ret > 0);
    if (ret == 0 && cluster == 0) {
        return co_qcow2_corrupt(node, true, -1, -1,
                                "Preventing invalid allocation of cluster at offset 0");
    }
    if (ret == 0) {
        ret = co_take(node, cluster, count);
    }
    return ret < 0 ? ret : cluster << s->cluster_bits;
}

int64_t co_qcow2_alloc_clusters_at(BlockNode *node, int64_t offset, int64_t clusters)
{
    Qcow2State *s = qcow2_state(node);
    int64_t first = offset >> s->cluster_bits, end;
    int ret;

    if (first <= 0 || first + clusters > last_cluster(s)) {
        return 0;
    }
    do {
        end = co_scan(node, first, first + clusters, SCAN_NOT_FREE);
        if (end <= first) {
            return end < 0 ? end : 0;
        }
        ret = co_qcow2_refblocks_make(node, first, end - first);
    } while (ret > 0);
    if (ret == 0) {
        ret = co_take(node, first, end - first);
    }
    return ret < 0 ? ret : end - first;
}

/* Can the cluster of the last compressed data take one more? */
static int co_check_packing(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t count;
    int ret;

    if (s->free_byte_offset == 0) {
        return 0;
    }
    ret = co_qcow2_refcount_get(node, s->free_byte_offset >> s->cluster_bits, &count);
    if (ret == 0 && (count == 0 || count == s->refcount_max)) {
        s->free_byte_offset = 0;
    }
    return ret;
}

/* Adds a new cluster; the data may begin in the old one where that lies right before it. */
static int64_t co_alloc_bytes_in_new(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    int64_t offset, old = s->free_byte_offset;
    int ret;

    offset = co_qcow2_alloc_clusters(node, s->cluster_size);
    if (offset < 0 || old == 0 || qcow2_cluster_end(s, old) != offset) {
        return offset;
    }
    ret = co_qcow2_refcount_add(node, old, 1, 1, QCOW2_DISCARD_NEVER);
    return ret == 0 ? old : offset;
}

int64_t co_qcow2_alloc_bytes(BlockNode *node, int64_t bytes)
{
    Qcow2State *s = qcow2_state(node);
    int64_t offset;
    int ret = co_check_packing(node);

    if (ret < 0) {
        return ret;
    }
    offset = s->free_byte_offset;
    if (offset == 0 || s->cluster_size - qcow2_in_cluster(s, offset) < bytes) {
        offset = co_alloc_bytes_in_new(node);
    } else {
        ret = co_qcow2_refcount_add(node, offset, bytes, 1, QCOW2_DISCARD_NEVER);
        offset = ret < 0 ? ret : offset;
    }
    if (offset > 0) {
        s->free_byte_offset = qcow2_in_cluster(s, offset + bytes) ? offset + bytes : 0;
    }
    return offset;
}
