/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Overlap checks; see overlap.h.
 *
 * Each kind of area is looked for in what is in memory: the header's numbers, the L1 table, the
 * refcount table, the snapshots.  L1 and the refcount table are long; s->tables holds the clusters
 * that they name (or named), so that a write elsewhere, which is every write, is let through
 * without looking at them.  Only "inactive-l2" would need the tables of snapshots from the
 * file; they are read for it, each time, as QEMU does.
 */
#include "block/drivers/qcow2/overlap.h"

#include "util/big-endian.h"
#include "util/error.h"
#include "util/range.h"

#include <errno.h>

/* A range that is to be written. */
typedef struct Write {
    int64_t offset, bytes;
} Write;

static bool hits(const Write *w, int64_t offset, int64_t bytes)
{
    /* What does not end within the numbers is not in the file. */
    return offset > 0 && range_valid(offset, bytes, INT64_MAX) &&
           range_overlaps(offset, bytes, w->offset, w->bytes);
}

/* Does one of the clusters that the table's entries name overlap? */
static bool hits_entries(const Qcow2State *s, const Write *w, const uint64_t *table,
                         uint32_t entries, uint64_t mask)
{
    for (uint32_t i = 0; i < entries; i++) {
        if (hits(w, table[i] & mask, s->cluster_size)) {
            return true;
        }
    }
    return false;
}

static void add_entries(const Qcow2State *s, GHashTable *set, const uint64_t *table,
                        uint32_t entries, uint64_t mask)
{
    for (uint32_t i = 0; i < entries; i++) {
        if (table[i] & mask) {
            g_hash_table_add(set, GSIZE_TO_POINTER((table[i] & mask) >> s->cluster_bits));
        }
    }
}

static GHashTable *collect_tables(const Qcow2State *s)
{
    GHashTable *set = g_hash_table_new(NULL, NULL);

    add_entries(s, set, s->l1, s->header.l1_size, QCOW2_OFFSET_MASK);
    add_entries(s, set, s->refcount_table, s->refcount_table_size, QCOW2_REFTABLE_OFFSET_MASK);
    return set;
}

void qcow2_overlap_add_table(Qcow2State *s, int64_t offset)
{
    if (s->tables && offset) {
        g_hash_table_add(s->tables, GSIZE_TO_POINTER(offset >> s->cluster_bits));
    }
}

void qcow2_overlap_forget_tables(Qcow2State *s)
{
    g_clear_pointer(&s->tables, g_hash_table_destroy);
}

/* False: no L2 table or refcount block is there; else a closer look is needed. */
static bool may_hit_tables(Qcow2State *s, const Write *w)
{
    int64_t first = w->offset >> s->cluster_bits;
    int64_t last = (w->offset + w->bytes - 1) >> s->cluster_bits;

    if (!s->l1 || !s->refcount_table) {
        return true;
    }
    if (!s->tables) {
        s->tables = collect_tables(s);
    }
    for (int64_t cluster = first; cluster <= last; cluster++) {
        if (g_hash_table_contains(s->tables, GSIZE_TO_POINTER(cluster))) {
            return true;
        }
    }
    return false;
}

static bool hits_inactive_l1(const Qcow2State *s, const Write *w)
{
    for (uint32_t i = 0; i < s->header.snapshots; i++) {
        if (hits(w, s->snapshots[i].l1_offset, (int64_t)s->snapshots[i].l1_size * 8)) {
            return true;
        }
    }
    return false;
}

static int co_hits_l1_of(BlockNode *node, const Write *w, const Qcow2Snapshot *snapshot)
{
    const Qcow2State *s = qcow2_state(node);
    g_autofree uint64_t *l1 = g_try_new(uint64_t, MAX(snapshot->l1_size, 1));
    int ret = l1 ? co_qcow2_read_file(node, snapshot->l1_offset, l1, snapshot->l1_size * 8)
                 : -ENOMEM;

    for (uint32_t i = 0; i < snapshot->l1_size && ret == 0; i++) {
        ret = hits(w, be64toh(l1[i]) & QCOW2_OFFSET_MASK, s->cluster_size);
    }
    return ret;
}

static int co_hits_inactive_l2(BlockNode *node, const Write *w)
{
    const Qcow2State *s = qcow2_state(node);
    int ret = 0;

    for (uint32_t i = 0; i < s->header.snapshots && ret == 0; i++) {
        ret = co_hits_l1_of(node, w, &s->snapshots[i]);
    }
    return ret;
}

/* The areas whose place is known without a loop. */
static unsigned find_constant(const Qcow2State *s, unsigned areas, const Write *w)
{
    const Qcow2Header *h = &s->header;

    if ((areas & QCOW2_AREA_HEADER) && w->offset < s->cluster_size) {
        return QCOW2_AREA_HEADER;
    }
    if ((areas & QCOW2_AREA_ACTIVE_L1) && hits(w, h->l1_offset, (int64_t)h->l1_size * 8)) {
        return QCOW2_AREA_ACTIVE_L1;
    }
    if ((areas & QCOW2_AREA_REFCOUNT_TABLE) &&
        hits(w, h->refcount_table_offset, (int64_t)s->refcount_table_size * 8)) {
        return QCOW2_AREA_REFCOUNT_TABLE;
    }
    if ((areas & QCOW2_AREA_SNAPSHOT_TABLE) && hits(w, h->snapshots_offset, s->snapshots_bytes)) {
        return QCOW2_AREA_SNAPSHOT_TABLE;
    }
    if ((areas & QCOW2_AREA_BITMAP_DIRECTORY) && h->bitmaps.count &&
        hits(w, h->bitmaps.directory_offset, h->bitmaps.directory_size)) {
        return QCOW2_AREA_BITMAP_DIRECTORY;
    }
    return 0;
}

static unsigned find_cached(Qcow2State *s, unsigned areas, const Write *w)
{
    if ((areas & (QCOW2_AREA_ACTIVE_L2 | QCOW2_AREA_REFCOUNT_BLOCK)) && !may_hit_tables(s, w)) {
        areas &= ~(QCOW2_AREA_ACTIVE_L2 | QCOW2_AREA_REFCOUNT_BLOCK);
    }
    if ((areas & QCOW2_AREA_ACTIVE_L2) && s->l1 &&
        hits_entries(s, w, s->l1, s->header.l1_size, QCOW2_OFFSET_MASK)) {
        return QCOW2_AREA_ACTIVE_L2;
    }
    if ((areas & QCOW2_AREA_REFCOUNT_BLOCK) && s->refcount_table &&
        hits_entries(s, w, s->refcount_table, s->refcount_table_size,
                     QCOW2_REFTABLE_OFFSET_MASK)) {
        return QCOW2_AREA_REFCOUNT_BLOCK;
    }
    if ((areas & QCOW2_AREA_INACTIVE_L1) && hits_inactive_l1(s, w)) {
        return QCOW2_AREA_INACTIVE_L1;
    }
    return 0;
}

static const char *area_name(unsigned area)
{
    static const char *const names[] = {
        "qcow2_header",   "active L1 table",   "active L2 table",
        "refcount block", "refcount table",    "snapshot table",
        "inactive L1 table", "inactive L2 table", "bitmap directory",
    };

    return names[__builtin_ctz(area)];
}

static int co_find(BlockNode *node, unsigned areas, const Write *w, unsigned *found)
{
    Qcow2State *s = qcow2_state(node);
    int ret = 0;

    *found = find_constant(s, areas, w);
    if (!*found) {
        *found = find_cached(s, areas, w);
    }
    if (!*found && (areas & QCOW2_AREA_INACTIVE_L2)) {
        ret = co_hits_inactive_l2(node, w);
        *found = ret > 0 ? QCOW2_AREA_INACTIVE_L2 : 0;
    }
    return MIN(ret, 0);
}

int co_qcow2_check_overlap(BlockNode *node, unsigned ignore, int64_t offset, int64_t bytes)
{
    Qcow2State *s = qcow2_state(node);
    unsigned areas = s->overlap_checks & ~ignore, found;
    Write w = { offset, bytes };
    int ret;

    if (!areas || !bytes) {
        return 0;
    }
    ret = co_find(node, areas, &w, &found);
    if (ret < 0 || !found) {
        return ret;
    }
    return co_qcow2_corrupt(node, true, offset, bytes,
                            "Preventing invalid write on metadata (overlaps with %s)",
                            area_name(found));
}

/* --- the option --------------------------------------------------------------------------- */

static unsigned template_areas(Qcow2OverlapCheckMode mode)
{
    const unsigned constant = QCOW2_AREA_HEADER | QCOW2_AREA_ACTIVE_L1 |
                              QCOW2_AREA_REFCOUNT_TABLE | QCOW2_AREA_SNAPSHOT_TABLE |
                              QCOW2_AREA_BITMAP_DIRECTORY;
    const unsigned cached = constant | QCOW2_AREA_ACTIVE_L2 | QCOW2_AREA_REFCOUNT_BLOCK |
                            QCOW2_AREA_INACTIVE_L1;

    switch (mode) {
    case QCOW2_OVERLAP_CHECK_MODE_NONE:
        return 0;
    case QCOW2_OVERLAP_CHECK_MODE_CONSTANT:
        return constant;
    case QCOW2_OVERLAP_CHECK_MODE_ALL:
        return cached | QCOW2_AREA_INACTIVE_L2;
    default:
        return cached;
    }
}

unsigned qcow2_overlap_option(const Qcow2OverlapChecks *options)
{
    const Qcow2OverlapCheckFlags *f;
    unsigned areas;

    if (!options || options->kind == QCOW2_OVERLAP_CHECKS_KIND_MODE) {
        return template_areas(options ? options->u.mode : QCOW2_OVERLAP_CHECK_MODE_CACHED);
    }
    f = options->u.flags;
    areas = template_areas(f->has_template ? f->template : QCOW2_OVERLAP_CHECK_MODE_CACHED);
    const struct {
        bool has, on;
        unsigned area;
    } choices[] = {
        { f->has_main_header, f->main_header, QCOW2_AREA_HEADER },
        { f->has_active_l1, f->active_l1, QCOW2_AREA_ACTIVE_L1 },
        { f->has_active_l2, f->active_l2, QCOW2_AREA_ACTIVE_L2 },
        { f->has_refcount_table, f->refcount_table, QCOW2_AREA_REFCOUNT_TABLE },
        { f->has_refcount_block, f->refcount_block, QCOW2_AREA_REFCOUNT_BLOCK },
        { f->has_snapshot_table, f->snapshot_table, QCOW2_AREA_SNAPSHOT_TABLE },
        { f->has_inactive_l1, f->inactive_l1, QCOW2_AREA_INACTIVE_L1 },
        { f->has_inactive_l2, f->inactive_l2, QCOW2_AREA_INACTIVE_L2 },
        { f->has_bitmap_directory, f->bitmap_directory, QCOW2_AREA_BITMAP_DIRECTORY },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(choices); i++) {
        if (choices[i].has) {
            areas = choices[i].on ? areas | choices[i].area : areas & ~choices[i].area;
        }
    }
    return areas;
}
