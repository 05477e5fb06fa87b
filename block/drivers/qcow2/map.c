/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading the map: what lies at a guest offset; see map.h.
 *
 * Invariants.
 *   - The L1 table in memory is the truth; the L2 slices in the cache are.
 *   - An entry is looked at and its run made without a yield, so what it says is one state.
 *   - Each entry is checked before its offset is used.  Reserved bits are masked, as QEMU does:
 *     check reports them.
 */
#include "block/drivers/qcow2/map.h"

#include "util/big-endian.h"
#include "util/error.h"

#include <errno.h>
#include <stdlib.h>

bool co_qcow2_map_open(BlockNode *node, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    size_t bytes = (size_t)s->header.l1_size * sizeof(uint64_t);
    int ret;

    s->l1 = g_try_malloc(MAX(bytes, sizeof(uint64_t)));
    if (!s->l1) {
        return tm_error_set(errp, "Could not allocate L1 table");
    }
    ret = co_qcow2_read_file(node, s->header.l1_offset, s->l1, bytes);
    if (ret < 0) {
        return tm_error_set_errno(errp, -ret, "Could not read L1 table");
    }
    for (uint32_t i = 0; i < s->header.l1_size; i++) {
        s->l1[i] = be64toh(s->l1[i]);
    }
    return true;
}

void qcow2_map_close(BlockNode *node)
{
    g_clear_pointer(&qcow2_state(node)->l1, g_free);
}

/* --- entries ------------------------------------------------------------------------------ */

static Qcow2Entry entry_at(const Qcow2State *s, const void *slice, unsigned index)
{
    const uint8_t *at = (const uint8_t *)slice + ((size_t)index << s->l2_entry_bits);

    return (Qcow2Entry){
        .descriptor = get_be64(at),
        .bitmap = s->extended_l2 ? get_be64(at + 8) : 0,
    };
}

Qcow2Entry qcow2_map_entry(const Qcow2State *s, const Qcow2Slice *slice, unsigned i)
{
    return entry_at(s, slice->table->data, slice->index + i);
}

static bool has_host(const Qcow2State *s, uint64_t descriptor)
{
    return (descriptor & QCOW2_OFFSET_MASK) || (s->external_data && (descriptor & QCOW2_COPIED));
}

static Qcow2Kind plain_kind(const Qcow2State *s, uint64_t descriptor)
{
    bool host = has_host(s, descriptor);

    if (descriptor & QCOW2_ZERO) {
        return host ? QCOW2_KIND_ZERO_ALLOC : QCOW2_KIND_ZERO;
    }
    return host ? QCOW2_KIND_NORMAL : QCOW2_KIND_UNALLOCATED;
}

Qcow2Kind qcow2_entry_kind(const Qcow2State *s, Qcow2Entry entry, unsigned sub)
{
    bool host, allocated, zero;

    if (entry.descriptor & QCOW2_COMPRESSED) {
        return QCOW2_KIND_COMPRESSED;
    }
    if (!s->extended_l2) {
        return plain_kind(s, entry.descriptor);
    }
    host = has_host(s, entry.descriptor);
    allocated = entry.bitmap >> sub & 1;
    zero = entry.bitmap >> (QCOW2_SUBCLUSTERS + sub) & 1;
    if (allocated) {
        return zero || !host ? QCOW2_KIND_INVALID : QCOW2_KIND_NORMAL;
    }
    if (zero) {
        return host ? QCOW2_KIND_ZERO_ALLOC : QCOW2_KIND_ZERO;
    }
    return host ? QCOW2_KIND_UNALLOCATED_ALLOC : QCOW2_KIND_UNALLOCATED;
}

void qcow2_compressed_place(const Qcow2State *s, uint64_t entry, int64_t *offset, int64_t *bytes)
{
    int64_t sectors = (entry >> s->csize_shift & s->csize_mask) + 1;

    *offset = entry & s->coffset_mask;
    *bytes = sectors * 512 - (*offset & 511);
}

/* --- checks ------------------------------------------------------------------------------- */

/* Where an entry is, for messages. */
typedef struct EntryPlace {
    int64_t guest; /* cluster-aligned */
    int64_t slice;
    unsigned index;
} EntryPlace;

static int co_report(BlockNode *node, const EntryPlace *place, const char *what, uint64_t value)
{
    const Qcow2State *s = qcow2_state(node);
    int64_t table = place->slice & -s->cluster_size;
    unsigned index = place->index + ((place->slice - table) >> s->l2_entry_bits);

    return co_qcow2_corrupt(node, true, -1, -1,
                            "%s %#" PRIx64 " (L2 offset: %#" PRIx64 ", L2 index: %#x)", what, value,
                            table, index);
}

static int co_check_standard(BlockNode *node, uint64_t descriptor, const EntryPlace *place)
{
    const Qcow2State *s = qcow2_state(node);
    int64_t host = descriptor & QCOW2_OFFSET_MASK;

    if ((descriptor & QCOW2_ZERO) && s->header.version < 3) {
        return co_report(node, place, "Zero cluster entry found in pre-v3 image", descriptor);
    }
    if (qcow2_in_cluster(s, host)) {
        return co_report(node, place, "Unaligned cluster allocation offset", host);
    }
    if (s->external_data && has_host(s, descriptor) && host != place->guest) {
        return co_report(node, place, "External data file host cluster offset does not match "
                                      "guest cluster offset", host);
    }
    return 0;
}

/* Looks for what no entry may say; the subclusters' bits are seen by their kind. */
static int co_check_entry(BlockNode *node, Qcow2Entry entry, const EntryPlace *place)
{
    const Qcow2State *s = qcow2_state(node);

    if (entry.descriptor & QCOW2_COMPRESSED) {
        return s->external_data ? co_report(node, place, "Compressed cluster entry found in image "
                                            "with external data file", entry.descriptor)
                                : 0;
    }
    return co_check_standard(node, entry.descriptor, place);
}

/* --- runs --------------------------------------------------------------------------------- */

/* Is the entry fine without a closer look?  The common case, in a few instructions. */
static inline bool plainly_fine(const Qcow2State *s, uint64_t descriptor)
{
    return !s->external_data &&
           (descriptor & (QCOW2_COMPRESSED | ((uint64_t)s->cluster_size - 1))) == 0;
}

static bool is_copied(const Qcow2State *s, uint64_t descriptor)
{
    return s->external_data || (descriptor & QCOW2_COPIED);
}

static bool kind_has_host(Qcow2Kind kind)
{
    return kind == QCOW2_KIND_NORMAL || kind == QCOW2_KIND_ZERO_ALLOC ||
           kind == QCOW2_KIND_UNALLOCATED_ALLOC;
}

/* Begins a run with the subcluster @sub of an entry; up to the end of that subcluster. */
static void start_run(const Qcow2State *s, Qcow2Entry entry, int64_t offset, Qcow2Run *run)
{
    unsigned sub = qcow2_in_cluster(s, offset) >> s->subcluster_bits;

    *run = (Qcow2Run){
        .kind = qcow2_entry_kind(s, entry, sub),
        .entry = entry.descriptor,
        .copied = is_copied(s, entry.descriptor),
    };
    if (run->kind == QCOW2_KIND_COMPRESSED) {
        run->bytes = s->cluster_size - qcow2_in_cluster(s, offset);
        return;
    }
    run->bytes = s->subcluster_size - (offset & (s->subcluster_size - 1));
    if (kind_has_host(run->kind)) {
        run->host = (entry.descriptor & QCOW2_OFFSET_MASK) + qcow2_in_cluster(s, offset);
    }
}

/* Does the subcluster belong to the run, right behind its end? */
static bool continues(const Qcow2State *s, const Qcow2Run *run, Qcow2Entry entry, unsigned sub)
{
    if (qcow2_entry_kind(s, entry, sub) != run->kind) {
        return false;
    }
    if (!kind_has_host(run->kind)) {
        return true;
    }
    return (int64_t)(entry.descriptor & QCOW2_OFFSET_MASK) + sub * s->subcluster_size ==
               run->host + run->bytes &&
           is_copied(s, entry.descriptor) == run->copied;
}

/*
 * The run from the entry @index of a slice on.  A damaged entry ends it before; the next call will
 * begin with that one and report it.
 */
static int co_make_run(BlockNode *node, const void *slice, unsigned index, int64_t slice_offset,
                       int64_t offset, int64_t bytes, Qcow2Run *run)
{
    const Qcow2State *s = qcow2_state(node);
    unsigned entries = 1u << s->slice_bits;
    unsigned sub = (qcow2_in_cluster(s, offset) >> s->subcluster_bits) + 1;
    Qcow2Entry entry = entry_at(s, slice, index);
    EntryPlace place = { qcow2_cluster_start(s, offset), slice_offset, index };
    int ret;

    if (!plainly_fine(s, entry.descriptor)) {
        ret = co_check_entry(node, entry, &place);
        if (ret < 0) {
            return ret;
        }
    }
    start_run(s, entry, offset, run);
    if (run->kind == QCOW2_KIND_INVALID) {
        return co_report(node, &place, "Invalid cluster entry found", entry.descriptor);
    }
    if (run->kind == QCOW2_KIND_COMPRESSED) {
        run->bytes = MIN(run->bytes, bytes);
        return 0;
    }
    while (run->bytes < bytes) {
        if (sub == s->subclusters) {
            if (++index == entries) {
                break;
            }
            sub = 0;
            entry = entry_at(s, slice, index);
            if ((entry.descriptor & ~(QCOW2_COPIED | QCOW2_ZERO)) & (s->cluster_size - 1)) {
                break;
            }
        }
        if (!continues(s, run, entry, sub)) {
            break;
        }
        run->bytes += s->subcluster_size;
        sub++;
    }
    run->bytes = MIN(run->bytes, bytes);
    return 0;
}

/* --- lookup ------------------------------------------------------------------------------- */

static int unallocated(const Qcow2State *s, int64_t offset, int64_t bytes, Qcow2Run *run)
{
    int64_t table_bytes = INT64_C(1) << (s->l2_bits + s->cluster_bits);

    *run = (Qcow2Run){
        .kind = QCOW2_KIND_UNALLOCATED,
        .bytes = MIN(bytes, table_bytes - (offset & (table_bytes - 1))),
    };
    return 0;
}

/* The offset of the L2 table, 0: there is none. */
static int co_table_offset(BlockNode *node, uint64_t l1_index, int64_t *table)
{
    const Qcow2State *s = qcow2_state(node);

    *table = l1_index < s->header.l1_size ? s->l1[l1_index] & QCOW2_OFFSET_MASK : 0;
    if (G_UNLIKELY(qcow2_in_cluster(s, *table))) {
        return co_qcow2_corrupt(node, true, -1, -1,
                                "L2 table offset %#" PRIx64 " unaligned (L1 index: %#" PRIx64 ")",
                                *table, l1_index);
    }
    return 0;
}

static int co_map_uncached(BlockNode *node, int64_t slice_offset, unsigned index, int64_t offset,
                           int64_t bytes, Qcow2Run *run)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Table *table;
    int ret = co_qcow2_cache_get(s->l2_cache, slice_offset, &table);

    if (ret == 0) {
        ret = co_make_run(node, table->data, index, slice_offset, offset, bytes, run);
        qcow2_cache_put(s->l2_cache, table);
    }
    return ret;
}

static int co_try_map(BlockNode *node, int64_t offset, int64_t bytes, Qcow2Run *run)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t l1_index = (uint64_t)offset >> (s->l2_bits + s->cluster_bits);
    unsigned l2_index = offset >> s->cluster_bits & ((1u << s->l2_bits) - 1);
    unsigned index = l2_index & ((1u << s->slice_bits) - 1);
    int64_t table, slice_offset;
    void *slice;
    int ret = co_table_offset(node, l1_index, &table);

    if (ret < 0) {
        return ret;
    }
    if (table == 0) {
        return unallocated(s, offset, bytes, run);
    }
    slice_offset = table + ((int64_t)(l2_index - index) << s->l2_entry_bits);
    slice = qcow2_cache_find(s->l2_cache, slice_offset);
    return G_LIKELY(slice)
               ? co_make_run(node, slice, index, slice_offset, offset, bytes, run)
               : co_map_uncached(node, slice_offset, index, offset, bytes, run);
}

int co_qcow2_map(BlockNode *node, int64_t offset, int64_t bytes, Qcow2Run *run)
{
    int ret;

    /* The table may have moved while its slice was read. */
    do {
        ret = co_try_map(node, offset, bytes, run);
    } while (G_UNLIKELY(ret == -EAGAIN));
    return ret;
}
