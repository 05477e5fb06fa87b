/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads, writes in place, and flushes; see io.h.
 *
 * A request is cut into the runs of the map, several of which are read or written at the same time.
 * The image is not locked: a run is looked up and entered on s->host_io without a yield in between,
 * so its clusters stay what they are until it is done.  What cannot be written in place goes to
 * alloc.c, one piece of a request after the other.
 */
#include "block/drivers/qcow2/io.h"

#include "block/drivers/blkdebug.h"
#include "block/drivers/qcow2/alloc.h"
#include "block/drivers/qcow2/compress.h"
#include "block/drivers/qcow2/map.h"
#include "block/drivers/qcow2/overlap.h"
#include "block/drivers/qcow2/refcount.h"
#include "io/co-parallel.h"

#include <errno.h>

/* Runs of one request that are read or written at the same time. */
#define PARALLEL_RUNS 8

/* --- host clusters ------------------------------------------------------------------------ */

int co_qcow2_read_host(BlockNode *node, int64_t host, const IoSlice *data)
{
    Qcow2State *s = qcow2_state(node);
    int64_t size = s->data->node->size;
    IoSlice part;

    if (G_LIKELY(host <= size && (int64_t)data->len <= size - host)) {
        return co_block_read(s->data, host, data, 0);
    }
    part = io_slice_sub(data, 0, CLAMP(size - host, 0, (int64_t)data->len));
    if (part.len < data->len) {
        IoSlice rest = io_slice_sub(data, part.len, data->len - part.len);

        io_slice_zero(&rest);
    }
    return part.len ? co_block_read(s->data, host, &part, 0) : 0;
}

/* Makes an external data file long enough for [0, end). */
static int co_grow_data(BlockNode *node, int64_t end)
{
    Qcow2State *s = qcow2_state(node);

    if (G_LIKELY(end <= s->data->node->size)) {
        return 0;
    }
    end = MAX(end, node->size);
    return co_block_truncate(s->data, end, false, PREALLOC_MODE_OFF, NULL) ? 0 : -ENOSPC;
}

int co_qcow2_write_host(BlockNode *node, int64_t host, const IoSlice *data)
{
    Qcow2State *s = qcow2_state(node);
    int ret;

    if (s->external_data) {
        ret = co_grow_data(node, host + data->len);
    } else {
        ret = co_qcow2_check_overlap(node, 0, host, data->len);
        if (ret == 0 && G_UNLIKELY(host + (int64_t)data->len > node->file->node->size)) {
            /* The file was cut short; what it grows by is not all fresh. */
            s->fresh_from = MAX(s->fresh_from, qcow2_cluster_end(s, host + data->len));
            ret = co_qcow2_file_grow(node, host + data->len);
        }
    }
    return ret < 0 ? ret : co_block_write(s->data, host, data, 0);
}

/* --- reading ------------------------------------------------------------------------------ */

int co_qcow2_read_backing(BlockNode *node, int64_t offset, const IoSlice *data)
{
    BlockChild *backing = qcow2_backing(node);
    int64_t inside = backing ? CLAMP(backing->node->size - offset, 0, (int64_t)data->len) : 0;
    IoSlice part;

    if (inside < (int64_t)data->len) {
        part = io_slice_sub(data, inside, data->len - inside);
        io_slice_zero(&part);
    }
    if (inside == 0) {
        return 0;
    }
    part = io_slice_sub(data, 0, inside);
    blkdebug_event(node->file, BLKDEBUG_EVENT_READ_BACKING_AIO);
    return co_block_read(backing, offset, &part, 0);
}

static int co_read_in_flight(BlockNode *node, int64_t host, const IoSlice *data)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2HostIo io;
    int ret;

    blkdebug_event(node->file, BLKDEBUG_EVENT_READ_AIO);
    if (s->external_data) {
        return co_qcow2_read_host(node, host, data);
    }
    qcow2_host_io_begin(s, &io, host, data->len);
    ret = co_qcow2_read_host(node, host, data);
    qcow2_host_io_end(&io);
    return ret;
}

static int co_read_inflated(BlockNode *node, int64_t offset, const Qcow2Run *run,
                            const IoSlice *data)
{
    Qcow2State *s = qcow2_state(node);
    int64_t host, bytes;
    Qcow2HostIo io;
    int ret;

    qcow2_compressed_place(s, run->entry, &host, &bytes);
    qcow2_host_io_begin(s, &io, host, bytes);
    ret = co_qcow2_read_compressed(node, run->entry, qcow2_in_cluster(s, offset), data);
    qcow2_host_io_end(&io);
    return ret;
}

static int co_read_run(BlockNode *node, int64_t offset, const Qcow2Run *run, const IoSlice *data)
{
    switch (run->kind) {
    case QCOW2_KIND_NORMAL:
        return co_read_in_flight(node, run->host, data);
    case QCOW2_KIND_ZERO:
    case QCOW2_KIND_ZERO_ALLOC:
        io_slice_zero(data);
        return 0;
    case QCOW2_KIND_COMPRESSED:
        return co_read_inflated(node, offset, run, data);
    default:
        return co_qcow2_read_backing(node, offset, data);
    }
}

/* A read of several runs, shared by coroutines. */
typedef struct Read {
    BlockNode *node;
    int64_t offset;
    const IoSlice *data;
    size_t next;     /* in data: the first byte that nobody reads yet */
    CoMutex looking; /* held while the run at @next is looked up */
} Read;

static int co_find_run(Read *r, Qcow2Run *run, size_t *at)
{
    int ret = 0;

    co_mutex_lock(&r->looking);
    *at = r->next;
    if (r->next < r->data->len) {
        ret = co_qcow2_map(r->node, r->offset + r->next, r->data->len - r->next, run);
        r->next = ret < 0 ? r->data->len : r->next + run->bytes;
    }
    co_mutex_unlock(&r->looking);
    return ret;
}

static int co_read_next_run(void *opaque)
{
    Read *r = opaque;
    Qcow2Run run;
    size_t at;
    IoSlice part;
    int ret = co_find_run(r, &run, &at);

    if (ret < 0 || at >= r->data->len) {
        return ret;
    }
    part = io_slice_sub(r->data, at, run.bytes);
    ret = co_read_run(r->node, r->offset + at, &run, &part);
    return ret < 0 ? ret : 1;
}

int qcow2_co_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    Read r = { .node = node, .offset = offset, .data = data };
    Qcow2Run run;
    int ret = qcow2_state(node)->broken ? -EIO : co_qcow2_map(node, offset, data->len, &run);

    if (G_LIKELY(ret == 0 && run.bytes == (int64_t)data->len)) {
        return co_read_run(node, offset, &run, data);
    }
    return ret < 0 ? ret : co_in_parallel(PARALLEL_RUNS, co_read_next_run, &r);
}

/* --- writing ------------------------------------------------------------------------------ */

static int co_write_in_place(BlockNode *node, int64_t host, const IoSlice *data)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2HostIo io;
    int ret;

    blkdebug_event(node->file, BLKDEBUG_EVENT_WRITE_AIO);
    if (s->external_data) {
        return co_qcow2_write_host(node, host, data);
    }
    qcow2_host_io_begin(s, &io, host, data->len);
    ret = co_qcow2_write_host(node, host, data);
    qcow2_host_io_end(&io);
    return ret;
}

/* A write, which coroutines may share. */
typedef struct Write {
    BlockNode *node;
    int64_t offset;
    const IoSlice *data;
    size_t next;     /* in data: the first byte that nobody writes yet */
    CoMutex looking; /* held while the run at @next is looked up or allocated */
} Write;

/* Takes the run at w->next: into @part what can be written in place, the rest it allocates. */
static int co_take_run(Write *w, IoSlice *part, int64_t *host)
{
    IoSlice rest = io_slice_sub(w->data, w->next, w->data->len - w->next);
    int64_t offset = w->offset + w->next, done = 0;
    Qcow2Run run;
    int ret = co_qcow2_map(w->node, offset, rest.len, &run);

    if (ret < 0) {
        return ret;
    }
    if (run.kind == QCOW2_KIND_NORMAL && run.copied) {
        *part = io_slice_sub(&rest, 0, run.bytes);
        *host = run.host;
        done = run.bytes;
    } else {
        ret = co_qcow2_write_alloc(w->node, offset, &rest, &done);
    }
    w->next += done;
    return ret;
}

/* Allocates what comes before the next run that can be written in place; no @part: none is left. */
static int co_next_in_place(Write *w, IoSlice *part, int64_t *host)
{
    int ret = 0;

    *part = (IoSlice){ 0 };
    while (ret == 0 && part->len == 0 && w->next < w->data->len) {
        ret = co_take_run(w, part, host);
    }
    return ret;
}

static int co_write_next(void *opaque)
{
    Write *w = opaque;
    IoSlice part;
    int64_t host;
    int ret;

    co_mutex_lock(&w->looking);
    ret = co_next_in_place(w, &part, &host);
    co_mutex_unlock(&w->looking);
    if (ret < 0 || part.len == 0) {
        return ret;
    }
    ret = co_write_in_place(w->node, host, &part);
    return ret < 0 ? ret : 1;
}

/* Many are one run or one allocation: they go without more coroutines. */
static int co_write_runs(Write *w)
{
    IoSlice part;
    int64_t host;
    int ret = co_next_in_place(w, &part, &host);

    if (ret < 0 || part.len == 0) {
        return ret;
    }
    if (w->next == w->data->len) {
        return co_write_in_place(w->node, host, &part);
    }
    w->next -= part.len;
    return co_in_parallel(PARALLEL_RUNS, co_write_next, w);
}

int qcow2_co_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    Write w = { .node = node, .offset = offset, .data = data };

    if (qcow2_state(node)->broken) {
        return -EIO;
    }
    return flags & BLOCK_COMPRESSED ? co_qcow2_write_compressed(node, offset, data)
                                    : co_write_runs(&w);
}

/* --- flush -------------------------------------------------------------------------------- */

/* The gate flushes the files then. */
int qcow2_co_flush(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    int ret;

    if (s->broken || !qcow2_writable(node)) {
        return s->broken && !s->repair_only ? -EIO : 0; /* a check flushes what it mends */
    }
    co_mutex_lock(&s->lock);
    ret = co_qcow2_write_metadata(node);
    if (ret == 0 && s->discards->len) {
        ret = co_qcow2_flush_files(node);
        if (ret == 0) {
            co_qcow2_pass_discards(node);
        }
    }
    co_mutex_unlock(&s->lock);
    return ret;
}
