/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes that change the map; see alloc.h.
 *
 * A write goes in four steps.
 *   1. Enter its guest clusters on the list of allocations in flight.
 *   2. With the lock: look at the entries (plan), allocate clusters.
 *   3. Without it: write the data, together with what the rest of the first and last cluster (or
 *      subcluster) holds: copy on write.  Many requests are here at the same time.
 *   4. With the lock: change the entries (link), free what they referred to.
 * A crash before 4 is on disk leaks the new clusters.  Nobody else changes entries of clusters that
 * are on the list, so what was seen in 2 holds in 4.
 *
 * Clusters that the file has grown by and nobody wrote to are zeroes: there nothing but the data is
 * written where the rest reads as zeroes too.
 */
#include "block/drivers/qcow2/alloc.h"

#include "block/drivers/blkdebug.h"
#include "block/drivers/qcow2/io.h"
#include "block/drivers/qcow2/refcount.h"
#include "util/range.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ALL_SUBCLUSTERS UINT64_C(0xffffffff)
/* The most that one allocation covers: so much is written at once. */
#define MAX_ALLOCATION (INT64_C(16) << 20)
#define STACK_IOV 32

/* --- the list ----------------------------------------------------------------------------- */

static Qcow2Allocation *find_overlap(const Qcow2State *s, int64_t guest, int64_t bytes)
{
    for (Qcow2Allocation *a = s->allocations; a; a = a->next) {
        if (range_overlaps(a->guest, a->bytes, guest, bytes)) {
            return a;
        }
    }
    return NULL;
}

bool qcow2_allocation_overlaps(const Qcow2State *s, int64_t guest, int64_t bytes)
{
    return find_overlap(s, guest, bytes) != NULL;
}

static void allocation_add(Qcow2State *s, Qcow2Allocation *a)
{
    a->waiters = (CoQueue){ 0 };
    a->next = s->allocations;
    a->prev = &s->allocations;
    if (a->next) {
        a->next->prev = &a->next;
    }
    s->allocations = a;
}

void co_qcow2_allocation_begin(Qcow2State *s, Qcow2Allocation *a)
{
    Qcow2Allocation *other;

    while ((other = find_overlap(s, a->guest, a->bytes))) {
        co_queue_wait(&other->waiters);
    }
    allocation_add(s, a);
}

void qcow2_allocation_end(Qcow2Allocation *a)
{
    *a->prev = a->next;
    if (a->next) {
        a->next->prev = a->prev;
    }
    co_queue_wake_all(&a->waiters);
}

/* As much of the range as can go ahead at once; waits only for what is in its first cluster. */
static void co_begin_shortened(Qcow2State *s, Qcow2Allocation *a)
{
    Qcow2Allocation *other;

    while ((other = find_overlap(s, a->guest, s->cluster_size))) {
        co_queue_wait(&other->waiters);
    }
    while ((other = find_overlap(s, a->guest, a->bytes))) {
        a->bytes = other->guest - a->guest;
    }
    allocation_add(s, a);
}

/* --- plan --------------------------------------------------------------------------------- */

/* What is to be done with a guest cluster. */
typedef enum Way {
    WAY_IN_PLACE, /* no change of the map */
    WAY_REUSE,    /* its host cluster is ours: only the entry's flags or bits change */
    WAY_NEW,      /* needs a new host cluster */
} Way;

typedef struct Write {
    BlockNode *node;
    int64_t offset, end;          /* of the guest's data that this allocation covers */
    int64_t cow_offset, cow_end;  /* with what is copied before and behind; (sub)cluster-aligned */
    Way way;
    bool whole;                   /* all subclusters of first and last cluster become allocated */
    bool fresh;                   /* the host clusters are zeroes */
    bool copied;                  /* something was copied on write */
    int64_t host;                 /* of the first cluster */
    int64_t clusters;
} Write;

static bool touched_is_normal(const Qcow2State *s, Qcow2Entry entry, int64_t from, int64_t to)
{
    unsigned first = from >> s->subcluster_bits, last = (to - 1) >> s->subcluster_bits;

    for (unsigned sub = first; sub <= last; sub++) {
        if (qcow2_entry_kind(s, entry, sub) != QCOW2_KIND_NORMAL) {
            return false;
        }
    }
    return true;
}

static bool entry_has_host(const Qcow2State *s, Qcow2Entry entry)
{
    return !(entry.descriptor & QCOW2_COMPRESSED) &&
           (qcow2_entry_host(entry) || (s->external_data && (entry.descriptor & QCOW2_COPIED)));
}

/* @from, @to: what is written of the cluster. */
static Way way_of(const Qcow2State *s, Qcow2Entry entry, int64_t from, int64_t to)
{
    if (!entry_has_host(s, entry) || (!s->external_data && !(entry.descriptor & QCOW2_COPIED))) {
        return WAY_NEW;
    }
    return touched_is_normal(s, entry, from, to) ? WAY_IN_PLACE : WAY_REUSE;
}

/* A cluster that moves takes all that it holds with it. */
static bool must_copy_whole(const Qcow2State *s, Qcow2Entry entry)
{
    return !s->extended_l2 || (entry.descriptor & QCOW2_COMPRESSED) ||
           (entry_has_host(s, entry) && !s->external_data &&
            !(entry.descriptor & QCOW2_COPIED));
}

/* Does cluster number @i, with @entry, go on with what the first cluster began? */
static bool joins(const Qcow2State *s, const Write *w, Qcow2Entry entry, int64_t i)
{
    int64_t start = qcow2_cluster_start(s, w->offset) + (i << s->cluster_bits);
    int64_t to = MIN(w->end - start, s->cluster_size);

    return way_of(s, entry, 0, to) == w->way && must_copy_whole(s, entry) == w->whole &&
           (w->way != WAY_REUSE ||
            qcow2_entry_host(entry) == w->host + (i << s->cluster_bits));
}

/* How far head and tail are copied. */
static void plan_copies(const Qcow2State *s, Write *w)
{
    int64_t unit = w->whole ? s->cluster_size : s->subcluster_size;

    w->cow_offset = align_down(w->offset, unit);
    w->cow_end = align_up(w->end, unit);
}

/*
 * A reused cluster's subclusters at the edges may be allocated already: then nothing is copied
 * there (and nothing may be: others may be writing to them).
 */
static void spare_allocated_edges(const Qcow2State *s, Write *w, Qcow2Entry first,
                                  Qcow2Entry last)
{
    unsigned head = qcow2_in_cluster(s, w->offset) >> s->subcluster_bits;
    unsigned tail = qcow2_in_cluster(s, w->end - 1) >> s->subcluster_bits;

    if (w->way != WAY_REUSE || !s->extended_l2) {
        return;
    }
    if (qcow2_entry_kind(s, first, head) == QCOW2_KIND_NORMAL) {
        w->cow_offset = w->offset;
    }
    if (qcow2_entry_kind(s, last, tail) == QCOW2_KIND_NORMAL) {
        w->cow_end = w->end;
    }
}

/* Looks at the entries; w->way == WAY_IN_PLACE: somebody else was faster, nothing is to be done. */
static int co_plan(Write *w)
{
    const Qcow2State *s = qcow2_state(w->node);
    int64_t start = qcow2_cluster_start(s, w->offset), wanted;
    Qcow2Entry first, last;
    Qcow2Slice slice;
    int ret = co_qcow2_map_get(w->node, w->offset, &slice);

    if (ret < 0) {
        return ret;
    }
    wanted = MIN(units_covering(w->end - start, s->cluster_size), slice.entries);
    w->end = MIN(w->end, start + (wanted << s->cluster_bits));
    first = last = qcow2_map_entry(s, &slice, 0);
    w->way = way_of(s, first, w->offset - start, MIN(w->end - start, s->cluster_size));
    w->whole = must_copy_whole(s, first);
    w->host = s->external_data ? start : qcow2_entry_host(first);
    for (w->clusters = 1; w->clusters < wanted; w->clusters++) {
        Qcow2Entry entry = qcow2_map_entry(s, &slice, w->clusters);

        if (!joins(s, w, entry, w->clusters)) {
            break;
        }
        last = entry;
    }
    w->end = MIN(w->end, start + (w->clusters << s->cluster_bits));
    plan_copies(s, w);
    spare_allocated_edges(s, w, first, last);
    qcow2_map_put(w->node, &slice);
    return 0;
}

/* --- clusters ----------------------------------------------------------------------------- */

static int co_take_clusters(Write *w)
{
    Qcow2State *s = qcow2_state(w->node);
    int64_t bytes = w->clusters << s->cluster_bits, host, fresh_from = s->fresh_from;

    if (w->way != WAY_NEW || s->external_data) {
        return 0;
    }
    blkdebug_event(w->node->file, BLKDEBUG_EVENT_CLUSTER_ALLOC);
    host = co_qcow2_alloc_clusters(w->node, bytes);
    if (host < 0) {
        return host;
    }
    w->host = host;
    w->fresh = host >= fresh_from;
    return 0;
}

static void co_give_clusters_back(Write *w)
{
    Qcow2State *s = qcow2_state(w->node);

    if (w->way == WAY_NEW && !s->external_data) {
        co_mutex_lock(&s->lock);
        co_qcow2_free_clusters(w->node, w->host, w->clusters << s->cluster_bits,
                               QCOW2_DISCARD_NEVER);
        co_mutex_unlock(&s->lock);
    }
}

/* --- data --------------------------------------------------------------------------------- */

/* Does the guest range read as zeroes, by what the map and the backing file's size say? */
static int co_reads_zero(BlockNode *node, int64_t offset, int64_t bytes)
{
    BlockChild *backing = qcow2_backing(node);
    int64_t backed = backing ? backing->node->size : 0;

    while (bytes > 0) {
        Qcow2Run run;
        int ret = co_qcow2_map(node, offset, bytes, &run);

        if (ret < 0) {
            return ret;
        }
        if (run.kind == QCOW2_KIND_NORMAL || run.kind == QCOW2_KIND_COMPRESSED ||
            ((run.kind == QCOW2_KIND_UNALLOCATED || run.kind == QCOW2_KIND_UNALLOCATED_ALLOC) &&
             offset < backed)) {
            return 0;
        }
        offset += run.bytes;
        bytes -= run.bytes;
    }
    return 1;
}

/* What surrounds the data, in one buffer. */
typedef struct Surroundings {
    uint8_t *buf;
    size_t head, tail;
} Surroundings;

static int co_read_guest(BlockNode *node, int64_t offset, void *buf, size_t len)
{
    struct iovec iov = { buf, len };
    IoSlice data = io_slice(&iov, 1);

    return len ? qcow2_co_read(node, offset, &data, 0) : 0;
}

static int co_read_surroundings(Write *w, Surroundings *around)
{
    int ret;

    around->head = w->offset - w->cow_offset;
    around->tail = w->cow_end - w->end;
    if (around->head + around->tail == 0) {
        return 0;
    }
    if (w->fresh) {
        ret = co_reads_zero(w->node, w->cow_offset, around->head);
        if (ret == 1) {
            ret = co_reads_zero(w->node, w->end, around->tail);
        }
        if (ret != 0) {
            around->head = around->tail = 0;
            return MIN(ret, 0);
        }
    }
    around->buf = block_alloc(w->node->file->node, around->head + around->tail);
    if (!around->buf) {
        return -ENOMEM;
    }
    w->copied = true;
    blkdebug_event(w->node->file, BLKDEBUG_EVENT_COW_READ);
    ret = co_read_guest(w->node, w->cow_offset, around->buf, around->head);
    return ret < 0 ? ret
                   : co_read_guest(w->node, w->end, around->buf + around->head, around->tail);
}

/* Head, data and tail as one write. */
static int co_write_surrounded(Write *w, const IoSlice *data, const Surroundings *around)
{
    const Qcow2State *s = qcow2_state(w->node);
    int64_t host = w->host + qcow2_in_cluster(s, w->offset) - around->head;
    struct iovec on_stack[STACK_IOV], *iov = on_stack;
    unsigned n = 0, room = data->niov + 2;
    IoSlice all;
    int ret;

    if (around->head + around->tail == 0) {
        return co_qcow2_write_host(w->node, host, data);
    }
    if (room > STACK_IOV) {
        iov = g_new(struct iovec, room);
    }
    iov[n++] = (struct iovec){ around->buf, around->head };
    n += io_slice_to_iov(data, iov + n, room - 2, NULL);
    iov[n++] = (struct iovec){ around->buf + around->head, around->tail };
    all = io_slice(iov, n);
    blkdebug_event(w->node->file, BLKDEBUG_EVENT_COW_WRITE);
    ret = co_qcow2_write_host(w->node, host, &all);
    if (iov != on_stack) {
        g_free(iov);
    }
    return ret;
}

static int co_write_clusters(Write *w, const IoSlice *data)
{
    Qcow2State *s = qcow2_state(w->node);
    Surroundings around = { 0 };
    Qcow2HostIo io;
    int ret = co_read_surroundings(w, &around);

    if (ret == 0) {
        qcow2_host_io_begin(s, &io, s->external_data ? 0 : w->host,
                            s->external_data ? 0 : w->clusters << s->cluster_bits);
        ret = co_write_surrounded(w, data, &around);
        qcow2_host_io_end(&io);
    }
    free(around.buf);
    return ret;
}

/* --- link --------------------------------------------------------------------------------- */

/* The bits of the subclusters in [from, to) of a cluster. */
static uint64_t sub_bits(const Qcow2State *s, int64_t from, int64_t to)
{
    unsigned first = from >> s->subcluster_bits, end = (to - 1) / s->subcluster_size + 1;

    return (ALL_SUBCLUSTERS >> (QCOW2_SUBCLUSTERS - (end - first))) << first;
}

static Qcow2Entry linked_entry(const Qcow2State *s, const Write *w, Qcow2Entry old, int64_t i)
{
    int64_t start = qcow2_cluster_start(s, w->offset) + (i << s->cluster_bits);
    int64_t from = MAX(w->cow_offset - start, 0), to = MIN(w->cow_end - start, s->cluster_size);
    Qcow2Entry entry = { .descriptor = (w->host + (i << s->cluster_bits)) | QCOW2_COPIED };

    if (s->extended_l2) {
        uint64_t bits = sub_bits(s, from, to);

        entry.bitmap = old.descriptor & QCOW2_COMPRESSED ? 0 : old.bitmap;
        entry.bitmap = (entry.bitmap | bits) & ~(bits << QCOW2_SUBCLUSTERS);
    }
    return entry;
}

/* Frees what the clusters referred to before. */
static void co_free_old(Write *w, const uint64_t *old)
{
    for (int64_t i = 0; i < w->clusters; i++) {
        if (old[i]) {
            co_qcow2_free_any(w->node, old[i], QCOW2_DISCARD_NEVER);
        }
    }
}

static int co_link(Write *w)
{
    Qcow2State *s = qcow2_state(w->node);
    g_autofree uint64_t *old = NULL;
    Qcow2Slice slice;
    int ret = co_qcow2_map_get(w->node, w->offset, &slice);

    if (ret < 0) {
        return ret;
    }
    blkdebug_event(w->node->file, BLKDEBUG_EVENT_L2_UPDATE);
    if (w->copied) {
        qcow2_cache_depend_on_flush(s->l2_cache);
    }
    for (int64_t i = 0; i < w->clusters; i++) {
        Qcow2Entry entry = qcow2_map_entry(s, &slice, i);

        if (w->way == WAY_NEW && !s->external_data &&
            ((entry.descriptor & QCOW2_COMPRESSED) || qcow2_entry_host(entry))) {
            old = old ? old : g_new0(uint64_t, w->clusters);
            old[i] = entry.descriptor;
        }
        qcow2_map_set_entry(w->node, &slice, i, linked_entry(s, w, entry, i));
    }
    qcow2_map_put(w->node, &slice);
    if (old) {
        co_free_old(w, old);
    }
    return 0;
}

/* --- the steps ---------------------------------------------------------------------------- */

static int co_locked(Write *w, int (*co_step)(Write *w))
{
    Qcow2State *s = qcow2_state(w->node);
    int ret;

    co_mutex_lock(&s->lock);
    ret = s->broken ? -EIO : co_step(w);
    co_mutex_unlock(&s->lock);
    return ret;
}

static int co_plan_and_take(Write *w)
{
    int ret = co_plan(w);

    return ret < 0 ? ret : co_take_clusters(w);
}

static int co_write_steps(Write *w, const IoSlice *data)
{
    int ret = co_locked(w, co_plan_and_take);
    IoSlice part;

    if (ret < 0 || w->way == WAY_IN_PLACE) {
        w->end = ret < 0 ? w->end : w->offset;
        return ret;
    }
    part = io_slice_sub(data, 0, w->end - w->offset);
    ret = co_write_clusters(w, &part);
    if (ret == 0) {
        ret = co_locked(w, co_link);
    }
    if (ret < 0) {
        co_give_clusters_back(w);
    }
    return ret;
}

int co_qcow2_write_alloc(BlockNode *node, int64_t offset, const IoSlice *data, int64_t *done)
{
    Qcow2State *s = qcow2_state(node);
    int64_t bytes = MIN((int64_t)data->len, MAX(MAX_ALLOCATION, s->cluster_size));
    Qcow2Allocation a = { .guest = qcow2_cluster_start(s, offset) };
    Write w = { .node = node, .offset = offset };
    int ret;

    a.bytes = qcow2_cluster_end(s, offset + bytes) - a.guest;
    co_begin_shortened(s, &a);
    w.end = MIN(offset + bytes, a.guest + a.bytes);
    ret = co_write_steps(&w, data);
    qcow2_allocation_end(&a);
    *done = ret < 0 ? 0 : w.end - offset;
    return ret;
}

/* --- compressed clusters ------------------------------------------------------------------ */

int co_qcow2_link_compressed(BlockNode *node, int64_t offset, int64_t host, int64_t bytes)
{
    Qcow2State *s = qcow2_state(node);
    int64_t sectors = (host + bytes - 1) / 512 - host / 512;
    Qcow2Entry entry = {
        .descriptor = host | QCOW2_COMPRESSED | ((uint64_t)sectors << s->csize_shift),
    };
    Qcow2Entry old;
    Qcow2Slice slice;
    int ret = co_qcow2_map_get(node, offset, &slice);

    if (ret < 0) {
        return ret;
    }
    old = qcow2_map_entry(s, &slice, 0);
    qcow2_map_set_entry(node, &slice, 0, entry);
    qcow2_map_put(node, &slice);
    if ((old.descriptor & QCOW2_COMPRESSED) || qcow2_entry_host(old)) {
        co_qcow2_free_any(node, old.descriptor, QCOW2_DISCARD_NEVER);
    }
    return 0;
}
