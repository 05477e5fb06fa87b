/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Zero clusters and discards: changes of the map without data.
 *
 * All entries of one slice change in one step under the lock; what they referred to is freed behind
 * that (O2 is kept by refcount.c).  The clusters are on the list of allocations meanwhile, so that
 * no write that is being linked is mixed with them.
 *
 * A write-zeroes that covers a (sub)cluster only in part can still make zeroes of all of it where
 * the rest reads as zeroes too, or lies behind the end of the disk; that is looked at when the
 * clusters are on the list already, since a write to the rest may be under way.
 *
 * Write-zeroes sets the zero flag (or the subclusters' zero bits), and keeps the room in the file
 * unless it may be unmapped.  Discard gives up the room; what was there reads as zeroes, also
 * where a backing file would show through.  A raw data file (QCOW2_RAW_DATA_FILE) is the disk at
 * any time: both write zeroes to it first, a discard only where that takes no buffers.
 */
#include "block/drivers/qcow2/alloc.h"
#include "block/drivers/qcow2/io.h"
#include "block/drivers/qcow2/refcount.h"
#include "util/range.h"

#include <errno.h>

#define SUB_ZERO(bits) ((uint64_t)(bits) << QCOW2_SUBCLUSTERS)
#define ALL_SUB_ZERO SUB_ZERO(0xffffffff)

/* A change of a range of entries. */
typedef struct Change {
    BlockNode *node;
    /*
     * The new entry for @old; @from, @to: which bytes of the cluster are meant (all where it is no
     * matter of subclusters).  *release: the host cluster is given up.  -ENOTSUP: cannot be said.
     */
    int (*make)(const struct Change *c, Qcow2Entry old, int64_t guest, int64_t from, int64_t to,
                Qcow2Entry *new, bool *release);
    int64_t offset, end; /* guest bytes */
    unsigned flags;      /* of write-zeroes, to a raw data file in any case */
    Qcow2Discard type;
    bool full;           /* nothing stays: the disk gets shorter */
    bool zero; /* a write-zeroes, however it is done */
} Change;

static bool has_room(const Qcow2State *s, Qcow2Entry entry)
{
    return (entry.descriptor & QCOW2_COMPRESSED) || qcow2_entry_host(entry) ||
           (s->external_data && (entry.descriptor & QCOW2_COPIED));
}

/* --- what the new entries are ------------------------------------------------------------- */

static Qcow2Entry zero_entry(const Qcow2State *s, uint64_t keep)
{
    return (Qcow2Entry){
        .descriptor = keep | (s->extended_l2 ? 0 : QCOW2_ZERO),
        .bitmap = s->extended_l2 ? ALL_SUB_ZERO : 0,
    };
}

/* Some subclusters of a cluster. */
static int zero_subclusters(const Qcow2State *s, Qcow2Entry old, int64_t from, int64_t to,
                            Qcow2Entry *new)
{
    uint64_t bits = 0;

    if (old.descriptor & QCOW2_COMPRESSED) {
        return -ENOTSUP;
    }
    for (int64_t at = from; at < to; at += s->subcluster_size) {
        bits |= UINT64_C(1) << (at >> s->subcluster_bits);
    }
    *new = old;
    new->bitmap = (old.bitmap & ~bits) | SUB_ZERO(bits);
    return 0;
}

static int make_zero(const Change *c, Qcow2Entry old, int64_t guest, int64_t from, int64_t to,
                     Qcow2Entry *new, bool *release)
{
    const Qcow2State *s = qcow2_state(c->node);
    bool compressed = old.descriptor & QCOW2_COMPRESSED;
    bool keep = has_room(s, old) && !compressed &&
                (!(c->flags & BLOCK_MAY_UNMAP) || s->discard_no_unref);

    if (from > 0 || to < s->cluster_size) {
        return zero_subclusters(s, old, from, to, new);
    }
    *new = zero_entry(s, keep ? old.descriptor & (QCOW2_OFFSET_MASK | QCOW2_COPIED) : 0);
    *release = has_room(s, old) && !keep;
    return 0;
}

static int make_discarded(const Change *c, Qcow2Entry old, int64_t guest, int64_t from, int64_t to,
                          Qcow2Entry *new, bool *release)
{
    const Qcow2State *s = qcow2_state(c->node);
    bool room = has_room(s, old);
    bool keep = room && s->discard_no_unref && !c->full && c->type == QCOW2_DISCARD_REQUEST &&
                !(old.descriptor & QCOW2_COMPRESSED);

    *new = old;
    if (c->full) {
        *new = (Qcow2Entry){ 0 };
    } else if (keep) {
        *new = zero_entry(s, old.descriptor & (QCOW2_OFFSET_MASK | QCOW2_COPIED));
    } else if (room || qcow2_backing(c->node)) {
        *new = s->header.version >= 3 ? zero_entry(s, 0) : (Qcow2Entry){ 0 };
    }
    *release = room && !keep;
    return 0;
}

/* --- the change --------------------------------------------------------------------------- */

/* The entries of one slice, all changed without a yield; *end: how far.  @old: what to free. */
static int change_slice(Change *c, const Qcow2Slice *slice, uint64_t *old, int64_t *end)
{
    const Qcow2State *s = qcow2_state(c->node);
    int64_t start = qcow2_cluster_start(s, c->offset);

    for (unsigned i = 0; i < slice->entries && start + i * s->cluster_size < c->end; i++) {
        int64_t guest = start + i * s->cluster_size;
        int64_t from = MAX(c->offset - guest, 0), to = MIN(c->end - guest, s->cluster_size);
        Qcow2Entry entry = qcow2_map_entry(s, slice, i), new;
        bool release = false;
        int ret = c->make(c, entry, guest, from, to, &new, &release);

        if (ret < 0) {
            return ret;
        }
        *end = guest + to;
        old[i] = release ? entry.descriptor : 0;
        if (new.descriptor != entry.descriptor || new.bitmap != entry.bitmap) {
            qcow2_map_set_entry(c->node, slice, i, new);
        }
    }
    return 0;
}

static void co_free_all(Change *c, const uint64_t *old, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (old[i]) {
            co_qcow2_free_any(c->node, old[i], c->type);
        }
    }
}

/* One slice; lock held.  *end says how far it went, also where it failed. */
static int co_change_locked(Change *c, int64_t *end)
{
    const Qcow2State *s = qcow2_state(c->node);
    g_autofree uint64_t *old = g_new0(uint64_t, INT64_C(1) << s->slice_bits);
    Qcow2Slice slice;
    int ret = s->broken ? -EIO : co_qcow2_map_get(c->node, c->offset, &slice);

    if (ret < 0) {
        return ret;
    }
    ret = change_slice(c, &slice, old, end);
    qcow2_map_put(c->node, &slice);
    co_free_all(c, old, slice.entries);
    return ret;
}

/*
 * A range without an L2 table that stays as it is needs none: discards of what was never written,
 * and what lies behind the new end of a disk (a table for each part of a huge one may not fit).
 */
static int co_skip_untouched(Change *c, int64_t *end)
{
    Qcow2Run run;
    int ret = co_qcow2_map(c->node, c->offset, c->end - c->offset, &run);

    *end = c->offset;
    if (ret == 0 && c->make == make_discarded && (c->full || !qcow2_backing(c->node)) &&
        run.kind == QCOW2_KIND_UNALLOCATED) {
        *end = c->offset + run.bytes;
    }
    return ret;
}

/* Does the range read as zeroes, as far as can be told without reading? */
static int co_is_zero(BlockNode *node, int64_t offset, int64_t bytes)
{
    BlockChild *backing = qcow2_backing(node);

    while (bytes > 0) {
        Qcow2Run run;
        int64_t len;
        int ret = co_qcow2_map(node, offset, bytes, &run);

        if (ret < 0) {
            return ret;
        }
        if (run.kind == QCOW2_KIND_NORMAL || run.kind == QCOW2_KIND_COMPRESSED) {
            return 0;
        }
        len = run.bytes;
        if (run.kind != QCOW2_KIND_ZERO && run.kind != QCOW2_KIND_ZERO_ALLOC && backing &&
            offset < backing->node->size) {
            BlockStatus status;

            ret = co_block_status(backing, true, offset, len, &status);
            if (ret < 0 || !(status.flags & BLOCK_STATUS_ZERO)) {
                return MIN(ret, 0);
            }
            len = status.bytes ? status.bytes : len;
        }
        offset += len;
        bytes -= len;
    }
    return 1;
}

/* Rounds the range out to whole subclusters where that changes nothing of what is read. */
static int co_round_out(Change *c)
{
    const Qcow2State *s = qcow2_state(c->node);
    int64_t start = align_down(c->offset, s->subcluster_size);
    int64_t limit = align_up(c->end, s->subcluster_size);
    int64_t tail = MIN(limit, c->node->size) - c->end;
    int ret = co_is_zero(c->node, start, c->offset - start);

    if (ret == 1 && tail > 0) {
        ret = co_is_zero(c->node, c->end, tail);
    }
    if (ret != 1) {
        return ret < 0 ? ret : -ENOTSUP;
    }
    c->offset = start;
    c->end = limit;
    return 0;
}

/*
 * A raw data file must hold the zeroes itself.  (It is never discarded: that may leave anything.)
 */
static int co_zero_raw_file(const Change *c)
{
    const Qcow2State *s = qcow2_state(c->node);
    int64_t end = MIN(c->end, s->data->node->size);

    return !s->raw_external || c->full || c->offset >= end
               ? 0
               : co_block_write_zeroes(s->data, c->offset, end - c->offset,
                                       c->flags & (BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK));
}

static int co_prepare(Change *c)
{
    int ret = c->zero ? co_round_out(c) : 0;

    return ret < 0 ? ret : co_zero_raw_file(c);
}

static int co_change(Change *c)
{
    Qcow2State *s = qcow2_state(c->node);
    Qcow2Allocation a = { .guest = qcow2_cluster_start(s, c->offset) };
    int ret;

    if (c->offset >= c->end) {
        return 0;
    }
    a.bytes = qcow2_cluster_end(s, c->end) - a.guest;
    co_qcow2_allocation_begin(s, &a);
    ret = co_prepare(c);
    while (c->offset < c->end && ret == 0) {
        int64_t end;

        ret = co_skip_untouched(c, &end);
        if (ret == 0 && end == c->offset) {
            co_mutex_lock(&s->lock);
            ret = co_change_locked(c, &end);
            co_mutex_unlock(&s->lock);
        }
        c->offset = ret < 0 ? c->offset : end;
    }
    qcow2_allocation_end(&a);
    return ret;
}

int co_qcow2_zero_clusters(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    Change c = {
        .node = node, .make = make_zero, .offset = offset, .end = offset + bytes, .flags = flags,
        .type = QCOW2_DISCARD_REQUEST, .zero = true,
    };

    /* Version 2 has no zero clusters; without a backing file unallocated ones do as well. */
    if (qcow2_state(node)->header.version < 3) {
        c.make = make_discarded;
        return qcow2_backing(node) ? -ENOTSUP : co_change(&c);
    }
    return co_change(&c);
}

int co_qcow2_discard_clusters(BlockNode *node, int64_t offset, int64_t bytes, Qcow2Discard type,
                              bool full)
{
    bool pass = qcow2_state(node)->discard_passthrough[type];
    Change c = {
        .node = node, .make = make_discarded, .offset = offset, .end = offset + bytes,
        .flags = BLOCK_NO_FALLBACK | (pass ? BLOCK_MAY_UNMAP : 0), .type = type, .full = full,
    };

    return co_change(&c);
}
