/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Walking all references of an image: from the header to L1 tables (active, and of snapshots), L2
 * tables, guest clusters; to the snapshot table, bitmaps, and refcount structures.  See
 * check-int.h.
 *
 * What an entry says is not believed: offsets may be anything, tables may lie over one another.
 * A table behind the end of the file reads as zeroes and is not looked at.
 */
#include "block/drivers/qcow2/check-int.h"

#include <errno.h>
#include <string.h>

#include "block/drivers/qcow2/map.h"

/* Subclusters: the low half says "allocated", the high half "reads as zeroes". */
#define BITMAP_ALLOCATED UINT64_C(0x00000000ffffffff)
#define BITMAP_ALL_ZERO UINT64_C(0xffffffff00000000)

/* One L2 table during the walk. */
typedef struct L2Walk {
    int64_t offset;
    bool active;
    int64_t next_host; /* where the next cluster is, if it is not a fragment; 0: not known */
} L2Walk;

/* --- counting --- */

static void count_cluster(Qcow2Checker *c, int64_t cluster)
{
    uint32_t *count = &c->counts[cluster - c->first];

    if (*count == c->max) {
        qcow2_check_corruption(c, "too many references to cluster %#" PRIx64
                               " for the width of refcounts", cluster << c->s->cluster_bits);
        return;
    }
    ++*count;
}

/* The file's last cluster need not be all there: up to a cluster more may be referred to. */
static bool is_in_file(const Qcow2Checker *c, int64_t offset, int64_t bytes)
{
    return offset >= 0 && bytes < c->file_bytes + c->s->cluster_size &&
           offset < c->file_bytes + c->s->cluster_size - bytes;
}

void qcow2_check_reference(Qcow2Checker *c, int64_t offset, int64_t bytes)
{
    unsigned bits = c->s->cluster_bits;

    if (bytes <= 0) {
        return;
    }
    if (!is_in_file(c, offset, bytes)) {
        if (c->report) {
            qcow2_check_corruption(c, "a reference goes beyond the end of the file: offset %#"
                                   PRIx64 " size %#" PRIx64, offset, bytes);
        }
        return;
    }
    int64_t first = MAX(offset >> bits, c->first);
    int64_t last = MIN((offset + bytes - 1) >> bits, c->end - 1);
    for (int64_t i = first; i <= last; i++) {
        count_cluster(c, i);
    }
}

/* --- L2 tables --- */

static Qcow2Entry entry_at(const Qcow2Checker *c, unsigned i)
{
    Qcow2Entry entry = { 0 };

    if (c->s->extended_l2) {
        entry.descriptor = qcow2_check_be64(c->table, 2 * (uint64_t)i);
        entry.bitmap = qcow2_check_be64(c->table, 2 * (uint64_t)i + 1);
    } else {
        entry.descriptor = qcow2_check_be64(c->table, i);
    }
    return entry;
}

static void walk_compressed(Qcow2Checker *c, L2Walk *w, Qcow2Entry entry)
{
    int64_t offset, bytes;

    if (c->report && (entry.descriptor & QCOW2_COPIED)) {
        qcow2_check_corruption(c, "a compressed cluster has the flag COPIED: entry %#" PRIx64,
                               entry.descriptor);
    }
    if (c->s->external_data) {
        if (c->report) {
            qcow2_check_corruption(c, "a compressed cluster in an image with a data file: entry %#"
                                   PRIx64, entry.descriptor);
        }
        return;
    }
    if (entry.bitmap) {
        c->incomplete = true; /* who knows what it was: its data is left alone */
        if (c->report) {
            qcow2_check_corruption(c, "a compressed cluster has a subcluster bitmap: entry %#"
                                   PRIx64, entry.descriptor);
        }
        return;
    }
    qcow2_compressed_place(c->s, entry.descriptor, &offset, &bytes);
    /* With the bits that must be 0. */
    offset = entry.descriptor & ((UINT64_C(1) << c->s->csize_shift) - 1);
    qcow2_check_reference(c, offset, bytes);
    if (c->report && w->active) {
        c->result->allocated_clusters++;
        c->result->compressed_clusters++;
        c->result->fragmented_clusters++; /* sectors are shared: always read apart */
    }
}

/* An entry that cannot be right, and stands for nothing but zeroes, is made to say just that. */
static int co_zero_entry(Qcow2Checker *c, const L2Walk *w, unsigned i)
{
    unsigned size = 1u << c->s->l2_entry_bits;
    unsigned area = w->active ? QCOW2_AREA_ACTIVE_L2 : QCOW2_AREA_INACTIVE_L2;
    uint8_t *at = c->table + (size_t)i * size;
    int ret;

    qcow2_check_put_be64(at, 0, c->s->extended_l2 ? 0 : QCOW2_ZERO);
    if (c->s->extended_l2) {
        qcow2_check_put_be64(at, 1, BITMAP_ALL_ZERO);
    }
    ret = co_qcow2_check_write(c, area, w->offset + (int64_t)i * size, at, size);
    if (ret < 0) {
        return qcow2_check_failed(c, ret, "writing an L2 entry", w->offset);
    }
    c->result->corruptions--;
    c->result->corruptions_fixed++;
    return 0;
}

/* Does it contradict itself?  *@mended: it has no place any more. */
static int co_check_place(Qcow2Checker *c, const L2Walk *w, unsigned i, Qcow2Entry entry,
                          bool *mended)
{
    int64_t host = entry.descriptor & QCOW2_OFFSET_MASK;
    bool has_data = c->s->extended_l2 ? entry.bitmap & BITMAP_ALLOCATED
                                      : !(entry.descriptor & QCOW2_ZERO);

    *mended = false;
    if (!c->report) {
        return 0;
    }
    if ((entry.bitmap >> 32) & entry.bitmap) {
        qcow2_check_corruption(c, "the subcluster bitmap of the cluster at %#" PRIx64
                               " contradicts itself", host);
    }
    if (qcow2_in_cluster(c->s, host) == 0) {
        return 0;
    }
    qcow2_check_corruption(c, "the cluster at %#" PRIx64 " is not aligned", host);
    if (has_data || !(c->fix & QCOW2_FIX_ERRORS)) {
        return 0;
    }
    *mended = true;
    return co_zero_entry(c, w, i);
}

static int co_walk_allocated(Qcow2Checker *c, L2Walk *w, unsigned i, Qcow2Entry entry)
{
    int64_t host = entry.descriptor & QCOW2_OFFSET_MASK;
    bool mended;
    int ret = co_check_place(c, w, i, entry, &mended);

    if (ret < 0 || mended) {
        return ret;
    }
    if (c->report && w->active) {
        c->result->allocated_clusters++;
        c->result->fragmented_clusters += w->next_host && w->next_host != host;
        w->next_host = host + c->s->cluster_size;
    }
    if (!c->s->external_data) {
        qcow2_check_reference(c, host, c->s->cluster_size);
    }
    return 0;
}

/* Offset 0 is no place, but for the first cluster of a data file. */
static bool has_place(const Qcow2State *s, Qcow2Entry entry)
{
    return (entry.descriptor & QCOW2_OFFSET_MASK) ||
           (s->external_data && (entry.descriptor & QCOW2_COPIED) &&
            (s->extended_l2 || !(entry.descriptor & QCOW2_ZERO)));
}

static int co_walk_entry(Qcow2Checker *c, L2Walk *w, unsigned i)
{
    Qcow2Entry entry = entry_at(c, i);

    if (entry.descriptor & QCOW2_COMPRESSED) {
        walk_compressed(c, w, entry);
        return 0;
    }
    if (c->report && (entry.descriptor & QCOW2_L2_RESERVED)) {
        qcow2_check_corruption(c, "reserved bits are set in L2 entry %#" PRIx64, entry.descriptor);
    }
    if (has_place(c->s, entry)) {
        return co_walk_allocated(c, w, i, entry);
    }
    if (c->report && (entry.bitmap & BITMAP_ALLOCATED)) {
        qcow2_check_corruption(c, "an L2 entry without a cluster has allocated subclusters");
    }
    return 0;
}

static int co_walk_l2(Qcow2Checker *c, int64_t offset, bool active)
{
    L2Walk w = { .offset = offset, .active = active };
    unsigned entries = 1u << c->s->l2_bits;
    int ret = co_qcow2_check_work(c, c->s->cluster_size);

    if (ret < 0 || offset >= c->file_bytes) {
        return ret;
    }
    ret = co_qcow2_read_file(c->node, offset, c->table, c->s->cluster_size);
    if (ret < 0) {
        return qcow2_check_failed(c, ret, "reading an L2 table", offset);
    }
    for (unsigned i = 0; i < entries && ret == 0; i++) {
        ret = co_walk_entry(c, &w, i);
    }
    return ret;
}

/* --- L1 tables --- */

static int co_walk_l1_entry(Qcow2Checker *c, uint64_t entry, bool active)
{
    int64_t offset = entry & QCOW2_OFFSET_MASK; /* 0 only in a damaged one: it is the header */

    if (!entry) {
        return 0;
    }
    if (c->report && (entry & QCOW2_L1_RESERVED)) {
        qcow2_check_corruption(c, "reserved bits are set in L1 entry %#" PRIx64, entry);
    }
    qcow2_check_reference(c, offset, c->s->cluster_size);
    if (c->report && qcow2_in_cluster(c->s, offset)) {
        qcow2_check_corruption(c, "the L2 table at %#" PRIx64 " is not aligned", offset);
    }
    return co_walk_l2(c, offset, active);
}

static int co_walk_l1(Qcow2Checker *c, int64_t offset, uint32_t entries, bool active)
{
    uint32_t n;
    int ret = 0;

    qcow2_check_reference(c, offset, (int64_t)entries * 8);
    for (uint32_t i = 0; i < entries && ret == 0; i += n) {
        n = qcow2_check_l1_entries(i, entries);
        ret = co_qcow2_check_work(c, (int64_t)n * 8);
        if (ret < 0) {
            return ret;
        }
        ret = co_qcow2_read_file(c->node, offset + (int64_t)i * 8, c->l1_part, (size_t)n * 8);
        if (ret < 0) {
            return qcow2_check_failed(c, ret, "reading an L1 table", offset);
        }
        for (uint32_t k = 0; k < n && ret == 0; k++) {
            ret = co_walk_l1_entry(c, qcow2_check_be64(c->l1_part, k), active);
        }
    }
    return ret;
}

/* --- snapshots --- */

static int co_walk_snapshot(Qcow2Checker *c, const Qcow2Snapshot *snapshot)
{
    const char *problem = qcow2_in_cluster(c->s, snapshot->l1_offset)         ? "is not aligned"
                          : snapshot->l1_size > QCOW2_MAX_L1_BYTES / 8 ? "is too large"
                                                                       : NULL;

    if (!problem) {
        return co_walk_l1(c, snapshot->l1_offset, snapshot->l1_size, false);
    }
    c->incomplete = true;
    if (c->report) {
        qcow2_check_corruption(c, "the L1 table of snapshot %s (%s) %s", snapshot->id,
                               snapshot->name, problem);
    }
    return 0;
}

static int co_walk_snapshots(Qcow2Checker *c)
{
    uint32_t n = c->s->snapshots ? c->s->header.snapshots : 0;
    int ret = 0;

    if (c->report && c->s->external_data && n) {
        qcow2_check_corruption(c, "%u snapshots in an image with a data file", n);
    }
    for (uint32_t i = 0; i < n && ret == 0; i++) {
        ret = co_walk_snapshot(c, &c->s->snapshots[i]);
    }
    if (n) {
        qcow2_check_reference(c, c->s->header.snapshots_offset, c->s->snapshots_bytes);
    }
    return ret;
}

/* --- refcount structures --- */

/* All other references are counted by now: a block that somebody else uses, too, is no good. */
static void count_refblock(Qcow2Checker *c, uint32_t i, int64_t offset)
{
    int64_t cluster = offset >> c->s->cluster_bits;
    uint32_t *count;

    if (cluster < c->first || cluster >= c->end) {
        return;
    }
    count = &c->counts[cluster - c->first];
    c->rebuild |= *count != 0; /* even if the width of refcounts cannot say so */
    qcow2_check_reference(c, offset, c->s->cluster_size);
    if (*count != 1) {
        qcow2_check_corruption(c, "refcount block %u is used %u times", i, *count);
    }
}

static void walk_refblock(Qcow2Checker *c, uint32_t i)
{
    uint64_t entry = c->s->refcount_table[i];
    uint64_t offset = entry & QCOW2_REFTABLE_OFFSET_MASK;
    const char *problem = entry & QCOW2_REFTABLE_RESERVED ? "has reserved bits set"
                          : offset & (c->s->cluster_size - 1) ? "is not aligned"
                          : offset >> c->s->cluster_bits >= (uint64_t)c->clusters
                              ? "lies outside of the file"
                              : NULL;

    if (!entry) {
        return;
    }
    if (!problem) {
        count_refblock(c, i, offset);
        return;
    }
    c->rebuild = true;
    if (c->report) {
        qcow2_check_corruption(c, "refcount table entry %u, %#" PRIx64 ", %s", i, entry, problem);
    }
}

static int co_walk_refcounts(Qcow2Checker *c)
{
    int64_t bytes = (int64_t)c->s->refcount_table_size * 8;

    qcow2_check_reference(c, c->s->header.refcount_table_offset, bytes);
    for (uint32_t i = 0; i < c->s->refcount_table_size; i++) {
        walk_refblock(c, i);
    }
    return co_qcow2_check_work(c, bytes);
}

/* --- all --- */

static int co_walk(Qcow2Checker *c)
{
    int ret;

    qcow2_check_reference(c, 0, c->s->cluster_size);
    ret = co_walk_l1(c, c->s->header.l1_offset, c->s->header.l1_size, true);
    if (ret == 0) {
        ret = co_walk_snapshots(c);
    }
    if (ret == 0) {
        ret = co_qcow2_check_walk_bitmaps(c);
    }
    if (ret == 0 && !c->skip_refcounts) {
        ret = co_walk_refcounts(c);
    }
    return ret;
}

int co_qcow2_check_count(Qcow2Checker *c, int64_t first)
{
    int64_t bytes;
    int ret;

    c->first = first;
    c->end = MIN(first + QCOW2_CHECK_RANGE, c->limit);
    bytes = (c->end - c->first) * sizeof(*c->counts);
    memset(c->counts, 0, bytes);
    ret = co_qcow2_check_work(c, bytes);
    return ret < 0 ? ret : co_walk(c);
}
