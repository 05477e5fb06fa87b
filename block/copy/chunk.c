/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One piece of the copier's work; see chunk.h. */
#include "block/copy/chunk.h"
#include "io/co-parallel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Parts of one chunk that are written at the same time. */
#define PARALLEL_PARTS 4
/* How much of staging leaves at once. */
#define LEAVE_BLOCKS 16
/* A long run of zeroes is written in requests of this size. */
#define ZERO_PIECE ((int64_t)256 << 20)

Chunk *chunk_new(BlockCopy *copy, ChunkKind kind, int64_t offset, int64_t bytes)
{
    Chunk *chunk = g_new0(Chunk, 1);

    chunk->copy = copy;
    chunk->kind = kind;
    chunk->offset = offset;
    chunk->bytes = bytes;
    chunk->parts = g_array_new(false, false, sizeof(CopyPart));
    return chunk;
}

void chunk_free(Chunk *chunk)
{
    if (!chunk) {
        return;
    }
    if (chunk->taken) {
        copy_transit_end(chunk->copy, &chunk->transit);
    }
    g_array_free(chunk->parts, true);
    sparse_bitmap_free(chunk->fetched);
    copy_buffer_put(chunk->copy, chunk->buf, chunk->buf_len);
    g_free(chunk);
}

static void add_part(Chunk *chunk, int64_t offset, int64_t bytes, const char *data)
{
    CopyPart *last = chunk->parts->len
                          ? &g_array_index(chunk->parts, CopyPart, chunk->parts->len - 1) : NULL;
    CopyPart part = { offset, bytes, data, false };

    chunk->moved += bytes;
    if (last && last->offset + last->bytes == offset && !last->data == !data &&
        (!data || last->data + last->bytes == data)) {
        last->bytes += bytes;
        return;
    }
    g_array_append_val(chunk->parts, part);
}

/* Data that was read is cut at clusters, so that those of zeroes become zeroes in the target. */
static void add_data(Chunk *chunk, int64_t offset, int64_t bytes)
{
    int64_t cluster = chunk->copy->cluster_size;

    for (int64_t at = offset, end = offset + bytes, n; at < end; at += n) {
        const char *data = chunk->buf + (at - chunk->offset);

        n = MIN(end, align_down(at, cluster) + cluster) - at;
        add_part(chunk, at, n, buffer_is_zero(data, n) ? NULL : data);
    }
}

/* --- taking: one step, without a yield (I2) --- */

static void take_staged(Chunk *chunk, uint64_t block, char *to)
{
    BlockCopy *copy = chunk->copy;
    void *page = staging_take(copy->staging, block);

    memcpy(to, page, copy_blocks_bytes(copy, block, 1));
    staging_page_free(copy->staging, page);
}

/* Not pending; what is in no state was moved by somebody else, and is not ours to write. */
static void take_block(Chunk *chunk, uint64_t block)
{
    BlockCopy *copy = chunk->copy;
    int64_t offset = copy_block_offset(copy, block), bytes = copy_blocks_bytes(copy, block, 1);

    if (sparse_bitmap_clear(copy->zeroes, block, 1)) {
        add_part(chunk, offset, bytes, NULL);
    } else if (chunk->buf && copy->staging && staging_look(copy->staging, block)) {
        take_staged(chunk, block, chunk->buf + (offset - chunk->offset));
        add_data(chunk, offset, bytes);
    } else if (chunk->buf && copy->spill && sparse_bitmap_get(spill_held(copy->spill), block)) {
        spill_drop(copy->spill, block); /* it has been fetched */
        add_data(chunk, offset, bytes);
    } else if (chunk->hosted && sparse_bitmap_get(copy->lost, block)) {
        add_part(chunk, offset, bytes, NULL); /* there may be newer bytes: no view shows those */
    }
}

static void take_pending(Chunk *chunk, int64_t offset, int64_t bytes)
{
    if (chunk->in_target) {
        chunk->moved += bytes;
        chunk->copy->host_bytes += bytes;
    } else if (chunk->buf) {
        add_data(chunk, offset, bytes);
    } else {
        add_part(chunk, offset, bytes, NULL);
    }
}

/* Data and zero chunks; the usual case is that no guest has written there. */
static void take_range(Chunk *chunk)
{
    BlockCopy *copy = chunk->copy;
    uint64_t first = copy_first_block(copy, chunk->offset);
    uint64_t end = copy_end_block(copy, chunk->offset, chunk->bytes);
    uint64_t run, count;

    for (uint64_t at = first; at < end; at = run + count) {
        if (!sparse_bitmap_next_run(copy->pending, at, end, &run, &count)) {
            run = end;
            count = 0;
        }
        for (uint64_t block = at; block < run; block++) {
            take_block(chunk, block);
        }
        if (count) {
            sparse_bitmap_clear(copy->pending, run, count);
            take_pending(chunk, copy_block_offset(copy, run), copy_blocks_bytes(copy, run, count));
        }
    }
}

static void set_taken(Chunk *chunk)
{
    chunk->taken = true;
    copy_transit_begin(chunk->copy, &chunk->transit, chunk->parts);
}

static void take_leaving(Chunk *chunk, uint64_t at)
{
    BlockCopy *copy = chunk->copy;
    char *to = chunk->buf;
    uint64_t block;

    for (unsigned i = 0; i < LEAVE_BLOCKS && copy_next_leaving(copy, at, &block); i++) {
        take_staged(chunk, block, to);
        add_part(chunk, copy_block_offset(copy, block), copy_blocks_bytes(copy, block, 1), to);
        to += copy->block_size;
        at = block + 1;
    }
    chunk->offset = g_array_index(chunk->parts, CopyPart, 0).offset;
    chunk->bytes = MIN(copy->size, copy_block_offset(copy, at)) - chunk->offset;
    set_taken(chunk);
}

Chunk *chunk_new_leave(BlockCopy *copy, int64_t *from)
{
    Chunk *chunk = chunk_new(copy, CHUNK_LEAVE, 0, 0);
    uint64_t first = 0;

    chunk->buf_len = LEAVE_BLOCKS * copy->block_size;
    chunk->buf = copy_buffer_get(copy, chunk->buf_len);
    if (!chunk->buf) {
        chunk_free(chunk);
        return NULL;
    }
    if (!copy_next_leaving(copy, copy_first_block(copy, *from), &first)) {
        copy_next_leaving(copy, 0, &first);
    }
    take_leaving(chunk, first);
    *from = chunk->offset + chunk->bytes;
    return chunk;
}

Chunk *chunk_new_leave_zeroes(BlockCopy *copy)
{
    Chunk *chunk = chunk_new(copy, CHUNK_LEAVE, 0, 0);
    uint64_t run, count;

    if (sparse_bitmap_next_run(copy->zeroes, 0, UINT64_MAX, &run, &count)) {
        sparse_bitmap_clear(copy->zeroes, run, count);
        chunk->offset = copy_block_offset(copy, run);
        chunk->bytes = copy_blocks_bytes(copy, run, count);
        add_part(chunk, chunk->offset, chunk->bytes, NULL);
    }
    set_taken(chunk);
    return chunk;
}

/* Where all was saved already the source has nothing to tell. */
static bool needs_source(const Chunk *chunk)
{
    const BlockCopy *copy = chunk->copy;
    uint64_t block;

    return sparse_bitmap_next_set(copy->pending, copy_first_block(copy, chunk->offset),
                                  copy_end_block(copy, chunk->offset, chunk->bytes), &block);
}

static int get_buffer(Chunk *chunk)
{
    chunk->buf_len = align_up(chunk->bytes, chunk->copy->block_size);
    if (!chunk->buf) {
        chunk->buf = copy_buffer_get(chunk->copy, chunk->buf_len);
    }
    return chunk->buf ? 0 : -ENOMEM;
}

static int co_read_source(Chunk *chunk)
{
    struct iovec iov = { chunk->buf, chunk->bytes };
    IoSlice data = io_slice(&iov, 1);

    return co_block_read(chunk->copy->source, chunk->offset, &data, BLOCK_BACKGROUND);
}

static int co_read(Chunk *chunk)
{
    int ret = get_buffer(chunk);

    if (ret == 0 && needs_source(chunk)) {
        /* At a second try the buffer may have fetched blocks, which this overwrites. */
        g_clear_pointer(&chunk->fetched, sparse_bitmap_free);
        ret = co_read_source(chunk);
    }
    return ret < 0 ? ret : co_chunk_fetch(chunk);
}

/* What was saved while the host copied is needed in memory, to be written over it. */
static int co_get_saved(Chunk *chunk)
{
    int ret = get_buffer(chunk);

    return ret < 0 ? ret : co_chunk_fetch(chunk);
}

/*
 * Once the copy is off the guest writes without saving: what is pending then need not be right any
 * more where the host has copied it.
 */
static int co_take_hosted(Chunk *chunk)
{
    bool all_pending = copy_all_pending(chunk->copy, chunk->offset, chunk->bytes);
    int ret = all_pending ? 0 : co_get_saved(chunk);

    return chunk->copy->off ? -ECANCELED : ret;
}

static int co_bring(Chunk *chunk)
{
    BlockCopy *copy = chunk->copy;

    if (!chunk->in_target && copy_host_may(copy, chunk->offset, chunk->bytes)) {
        chunk->hosted = true;
        chunk->in_target = co_copy_by_host(copy, chunk->offset, chunk->bytes) == 0;
    }
    return chunk->in_target ? co_take_hosted(chunk) : co_read(chunk);
}

int co_chunk_take(Chunk *chunk)
{
    int ret = 0;

    if (chunk->taken) {
        return 0;
    }
    chunk->is_read = true;
    if (chunk->kind == CHUNK_DATA) {
        ret = co_bring(chunk);
    }
    if (ret == 0) {
        take_range(chunk);
        set_taken(chunk);
        copy_spill_pump(chunk->copy);
    }
    if (chunk->hosted) {
        copy_host_end(chunk->copy, chunk->offset, chunk->bytes);
    }
    return ret;
}

/* --- writing --- */

/*
 * A long run: where the target reads as zeroes already nothing is written.  (With a front it seems
 * to: these very zeroes are shown there.)
 */
static int co_write_zero_run(BlockCopy *copy, int64_t offset, int64_t bytes)
{
    int ret = 0;

    for (int64_t n; bytes > 0 && ret == 0; offset += n, bytes -= n) {
        /* A target with a backing file shall hold the zeroes itself, as any other data. */
        const BlockNode *base = block_node_backing(copy->target->node);
        BlockStatus status;

        n = bytes;
        if (!copy->front &&
            co_block_status_above(copy->target, base, true, offset, n, &status) == 0 &&
            status.bytes > 0) {
            n = status.bytes;
            if (status.flags & BLOCK_STATUS_ZERO) {
                continue;
            }
        }
        n = MIN(n, ZERO_PIECE);
        ret = co_copy_write(copy, offset, NULL, n, 0);
    }
    return ret;
}

static int co_write_part(Chunk *chunk, const CopyPart *part, unsigned flags)
{
    BlockCopy *copy = chunk->copy;

    if (!part->data) {
        return co_write_zero_run(copy, part->offset, part->bytes);
    }
    return co_block_write_buf(copy->target, part->offset, part->data, part->bytes,
                              flags | copy->target_flags);
}

/* The next part that is not in the target; NULL: there is none. */
static CopyPart *take_part(Chunk *chunk)
{
    while (chunk->next_part < chunk->parts->len) {
        CopyPart *part = &g_array_index(chunk->parts, CopyPart, chunk->next_part++);

        if (!part->written) {
            return part;
        }
    }
    return NULL;
}

static int co_write_next(void *opaque)
{
    Chunk *chunk = opaque;
    bool over = chunk->ends_with_copy && chunk->copy->off;
    CopyPart *part = over ? NULL : take_part(chunk);
    int ret;

    if (!part) {
        return over ? -ECANCELED : 0;
    }
    ret = co_write_part(chunk, part, chunk->write_flags);
    part->written = ret == 0;
    return ret < 0 ? ret : 1;
}

int co_chunk_write(Chunk *chunk, unsigned write_flags)
{
    int ret;

    chunk->is_read = false;
    chunk->write_flags = write_flags;
    chunk->next_part = 0;
    chunk->transit.moving = true;
    ret = co_in_parallel(PARALLEL_PARTS, co_write_next, chunk);
    chunk->transit.moving = false;
    co_queue_wake_all(&chunk->copy->transit_stops);
    return ret;
}

void chunk_mark_rest(const Chunk *chunk, DirtyBitmap *bitmap)
{
    for (unsigned i = 0; i < chunk->parts->len; i++) {
        const CopyPart *part = &g_array_index(chunk->parts, CopyPart, i);

        if (!part->written) {
            dirty_bitmap_set(bitmap, part->offset, part->bytes);
        }
    }
}
