/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads, writes in place, and flushes; see io.h.
 *
 * A request is cut into the runs of the map.  Nothing is locked: a run is looked up and entered on
 * s->host_io without a yield in between, so its clusters stay what they are until it is done.  What
 * cannot be written in place goes to alloc.c.
 */
#include "block/drivers/qcow2/io.h"

#include "block/drivers/blkdebug.h"
#include "block/drivers/qcow2/alloc.h"
#include "block/drivers/qcow2/compress.h"
#include "block/drivers/qcow2/map.h"
#include "block/drivers/qcow2/overlap.h"
#include "block/drivers/qcow2/refcount.h"

#include <errno.h>

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

int qcow2_co_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    Qcow2Run run;
    int ret = qcow2_state(node)->broken ? -EIO : 0;

    for (size_t done = 0; done < data->len && ret == 0; done += run.bytes) {
        ret = co_qcow2_map(node, offset + done, data->len - done, &run);
        if (ret == 0) {
            IoSlice part = io_slice_sub(data, done, run.bytes);

            ret = co_read_run(node, offset + done, &run, &part);
        }
    }
    return ret;
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

static int co_write_piece(BlockNode *node, int64_t offset, const IoSlice *rest, int64_t *done)
{
    Qcow2Run run;
    IoSlice part;
    int ret = co_qcow2_map(node, offset, rest->len, &run);

    if (ret < 0) {
        return ret;
    }
    if (run.kind != QCOW2_KIND_NORMAL || !run.copied) {
        return co_qcow2_write_alloc(node, offset, rest, done);
    }
    part = io_slice_sub(rest, 0, run.bytes);
    *done = run.bytes;
    return co_write_in_place(node, run.host, &part);
}

int qcow2_co_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    int64_t piece;
    int ret = qcow2_state(node)->broken ? -EIO : 0;

    if (ret == 0 && (flags & BLOCK_COMPRESSED)) {
        return co_qcow2_write_compressed(node, offset, data);
    }
    for (size_t done = 0; done < data->len && ret == 0; done += piece) {
        IoSlice rest = io_slice_sub(data, done, data->len - done);

        piece = 0;
        ret = co_write_piece(node, offset + done, &rest, &piece);
    }
    return ret;
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
