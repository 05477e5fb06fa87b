/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The frozen view: the source as it was at the instant, for readers.
 *
 * Read, then overlay: what was pending when the read began is read from the source in one piece.
 * When that ends, blocks that are still pending are right (I2); the others are taken from their
 * saved places: memory at once, the target by another read, which nothing changes any more.
 */
#include <errno.h>

#include "block/copy/copy-int.h"

/* Where the old bytes of a block are. */
typedef enum Place {
    PLACE_SOURCE,
    PLACE_ZERO,
    PLACE_STAGING,
    PLACE_SPILL,
    PLACE_TRANSIT, /* the copier's memory, on the way to the target */
    PLACE_LOST,
    PLACE_TARGET,
} Place;

static Place place_of(const BlockCopy *copy, uint64_t block)
{
    if (sparse_bitmap_get(copy->pending, block)) {
        return PLACE_SOURCE;
    }
    if (sparse_bitmap_get(copy->zeroes, block)) {
        return PLACE_ZERO;
    }
    if (copy->staging && sparse_bitmap_get(staging_held(copy->staging), block)) {
        return PLACE_STAGING;
    }
    if (copy->spill && sparse_bitmap_get(spill_held(copy->spill), block)) {
        return PLACE_SPILL;
    }
    if (sparse_bitmap_get(copy->lost, block)) {
        return PLACE_LOST;
    }
    return copy_transit_find(copy, copy_block_offset(copy, block)) ? PLACE_TRANSIT : PLACE_TARGET;
}

/* So much of a scratch image may be free without its file being told of it. */
#define FREED_BYTES ((int64_t)64 << 20)

/* Where block states are compared one by one, at most so many are at a time. */
#define MAX_COMPARED 1024

/*
 * How many bytes from @offset on, at most @bytes, lie in the same place as the first.  It may be
 * less than there are.
 */
static int64_t same_place(const BlockCopy *copy, int64_t offset, int64_t bytes, Place *place)
{
    uint64_t block = copy_first_block(copy, offset), end = copy_end_block(copy, offset, bytes);

    *place = place_of(copy, block);
    if (*place == PLACE_SOURCE) {
        sparse_bitmap_next_clear(copy->pending, block, end, &end);
        return MIN(bytes, copy_block_offset(copy, end) - offset);
    }
    end = MIN(end, block + MAX_COMPARED);
    do {
        block++;
    } while (block < end && place_of(copy, block) == *place);
    return MIN(bytes, copy_block_offset(copy, block) - offset);
}

static bool may_read(const BlockCopy *copy, int64_t offset, int64_t bytes)
{
    uint64_t block;

    return !copy->error && offset <= copy->size && bytes <= copy->size - offset &&
           !sparse_bitmap_next_clear(copy->access, copy_first_block(copy, offset),
                                     copy_end_block(copy, offset, bytes), &block);
}

static IoSlice part_of(const IoSlice *data, int64_t start, int64_t offset, int64_t bytes)
{
    return io_slice_sub(data, offset - start, bytes);
}

static void read_staged(const BlockCopy *copy, int64_t offset, const IoSlice *data)
{
    uint64_t block = copy_first_block(copy, offset);
    const char *page = staging_look(copy->staging, block);

    io_slice_write(data, page + (offset - copy_block_offset(copy, block)), data->len);
}

static void read_transit(const BlockCopy *copy, int64_t offset, const IoSlice *data)
{
    const CopyPart *part = copy_transit_find(copy, offset);

    if (part->data) {
        io_slice_write(data, part->data + (offset - part->offset), data->len);
    } else {
        io_slice_zero(data);
    }
}

/*
 * How many bytes from @offset on, at most @bytes, one read of the spill file gets.  An extent of it
 * (1 MiB) is a limit, too.
 */
static int64_t spilled_run(const BlockCopy *copy, int64_t offset, int64_t bytes)
{
    uint64_t block = copy_first_block(copy, offset), end = copy_end_block(copy, offset, bytes);

    do {
        block++;
    } while (block < end && spill_follows(copy->spill, block - 1, block));
    return MIN(bytes, copy_block_offset(copy, block) - offset);
}

/* Such a run: whole blocks are read, and what is asked for is cut from them. */
static int co_read_spilled(BlockCopy *copy, int64_t offset, const IoSlice *data)
{
    uint64_t block = copy_first_block(copy, offset);
    struct iovec iov = {
        .iov_len = (copy_end_block(copy, offset, data->len) - block) * copy->block_size,
    };
    IoSlice blocks;
    int ret;

    iov.iov_base = copy_buffer_get(copy, iov.iov_len);
    if (!iov.iov_base) {
        return -ENOMEM;
    }
    blocks = io_slice(&iov, 1);
    ret = co_spill_read(copy->spill, block, &blocks);
    if (ret == 0) {
        io_slice_write(data, (char *)iov.iov_base + (offset - copy_block_offset(copy, block)),
                       data->len);
    }
    copy_buffer_put(copy, iov.iov_base, iov.iov_len);
    return ret;
}

/*
 * From where nothing more changes (of the spill file: a run), or memory: then in one block, and
 * without a yield.
 */
static int co_read_place(BlockCopy *copy, Place place, int64_t offset, const IoSlice *data)
{
    switch (place) {
    case PLACE_ZERO:
        io_slice_zero(data);
        return 0;
    case PLACE_STAGING:
        read_staged(copy, offset, data);
        return 0;
    case PLACE_SPILL:
        return co_read_spilled(copy, offset, data);
    case PLACE_TRANSIT:
        read_transit(copy, offset, data);
        return 0;
    case PLACE_LOST:
        return copy->lost_error;
    case PLACE_TARGET:
        return co_block_read(copy->target, offset, data, 0);
    case PLACE_SOURCE:
        break;
    }
    g_assert_not_reached();
}

int copy_overlay(BlockCopy *copy, int64_t offset, const IoSlice *data, SparseBitmap *later)
{
    uint64_t first = copy_first_block(copy, offset);
    int64_t end = offset + data->len;
    int ret = 0;

    for (int64_t at = offset; at < end && ret == 0;) {
        uint64_t block = copy_first_block(copy, at);
        int64_t bytes = MIN(end, copy_block_offset(copy, block + 1)) - at;
        Place place = place_of(copy, block);
        IoSlice part = part_of(data, offset, at, bytes);

        if (place == PLACE_TARGET || place == PLACE_SPILL) {
            if (later) {
                sparse_bitmap_set(later, block - first, 1);
            }
        } else if (place != PLACE_SOURCE) {
            ret = co_read_place(copy, place, at, &part);
        }
        at += bytes;
    }
    return ret;
}

/* How many bytes from @offset on, at most @bytes, are read at once, and where. */
static int64_t next_piece(const BlockCopy *copy, int64_t offset, int64_t bytes, Place *place)
{
    bytes = same_place(copy, offset, bytes, place);
    switch (*place) {
    case PLACE_STAGING:
    case PLACE_TRANSIT:
        return MIN(bytes, copy->block_size - offset % copy->block_size);
    case PLACE_SPILL:
        return spilled_run(copy, offset, bytes);
    case PLACE_SOURCE:
        return copy_reader_piece(copy, bytes);
    default:
        return bytes;
    }
}

/* The next run of @later from @from on, of what begins at @offset: @data is cut to its bytes. */
static bool next_later(const BlockCopy *copy, int64_t offset, const SparseBitmap *later,
                       uint64_t *from, int64_t *start, IoSlice *data)
{
    uint64_t first = copy_first_block(copy, offset), run, count;
    int64_t end = offset + (int64_t)data->len;

    if (!sparse_bitmap_next_run(later, *from, UINT64_MAX, &run, &count)) {
        return false;
    }
    *from = run + count;
    *start = MAX(offset, copy_block_offset(copy, first + run));
    end = MIN(end, copy_block_offset(copy, first + run + count));
    *data = part_of(data, offset, *start, end - *start);
    return true;
}

/* What is in the target was read there. */
static int co_overlay_run(BlockCopy *copy, int64_t offset, const IoSlice *data)
{
    int64_t bytes;
    int ret = 0;

    for (size_t done = 0; done < data->len && ret == 0; done += bytes) {
        Place place;
        IoSlice part;

        bytes = next_piece(copy, offset + done, data->len - done, &place);
        part = io_slice_sub(data, done, bytes);
        if (place != PLACE_TARGET) {
            ret = co_read_place(copy, place, offset + done, &part);
        }
    }
    return ret;
}

typedef int CoReadFn(BlockCopy *copy, int64_t offset, const IoSlice *data);

/* Each run of @later by @co_read; none of them is pending any more. */
static int co_read_runs(BlockCopy *copy, int64_t offset, const IoSlice *data,
                        const SparseBitmap *later, CoReadFn *co_read)
{
    IoSlice part = *data;
    uint64_t from = 0;
    int64_t start;
    int ret = 0;

    while (ret == 0 && next_later(copy, offset, later, &from, &start, &part)) {
        ret = co_read(copy, start, &part);
        part = *data;
    }
    return ret;
}

int co_copy_overlay_later(BlockCopy *copy, int64_t offset, const IoSlice *data,
                          const SparseBitmap *later)
{
    return co_read_runs(copy, offset, data, later, co_overlay_run);
}

static int co_read_blocks(BlockCopy *copy, int64_t offset, const IoSlice *data);

static int co_read_source(BlockCopy *copy, int64_t offset, const IoSlice *data)
{
    uint64_t n = copy_end_block(copy, offset, data->len) - copy_first_block(copy, offset);
    g_autoptr(SparseBitmap) later = sparse_bitmap_new(n);
    int64_t began = co_copy_reader_begin(copy, data->len);
    int ret = co_block_read(copy->source, offset, data, BLOCK_BACKGROUND);

    copy_reader_end(copy, began, data->len);
    if (ret == 0) {
        ret = copy_overlay(copy, offset, data, later);
    }
    return ret < 0 ? ret : co_read_runs(copy, offset, data, later, co_read_blocks);
}

static int co_read_blocks(BlockCopy *copy, int64_t offset, const IoSlice *data)
{
    int64_t bytes;
    int ret = 0;

    for (size_t done = 0; done < data->len && ret == 0; done += bytes) {
        Place place;
        IoSlice part;

        bytes = next_piece(copy, offset + done, data->len - done, &place);
        part = io_slice_sub(data, done, bytes);
        ret = place == PLACE_SOURCE ? co_read_source(copy, offset + done, &part)
                                    : co_read_place(copy, place, offset + done, &part);
    }
    return ret;
}

int co_block_copy_frozen_read(BlockCopy *copy, int64_t offset, const IoSlice *data)
{
    int ret = may_read(copy, offset, data->len) ? co_read_blocks(copy, offset, data) : -EACCES;

    meter_add(&copy->moved, loop_now_ns(), ret == 0 ? data->len : 0);
    /* The copy may have failed, or the range have been discarded, while we read. */
    return ret == 0 && !may_read(copy, offset, data->len) ? -EACCES : ret;
}

/* --- status --- */

bool copy_still_pending(const BlockCopy *copy, int64_t offset, BlockStatus *status)
{
    uint64_t first = copy_first_block(copy, offset), block;

    if (!sparse_bitmap_get(copy->pending, first)) {
        return false;
    }
    if (sparse_bitmap_next_clear(copy->pending, first,
                                 copy_end_block(copy, offset, status->bytes), &block)) {
        status->bytes = copy_block_offset(copy, block) - offset;
    }
    return true;
}

bool copy_saved_status(const BlockCopy *copy, int64_t offset, int64_t *bytes, BlockStatus *status,
                       bool *pending)
{
    Place place;

    *bytes = same_place(copy, offset, *bytes, &place);
    *pending = place == PLACE_SOURCE;
    if (place == PLACE_SOURCE || place == PLACE_TARGET) {
        return false;
    }
    *status = (BlockStatus){
        .flags = BLOCK_STATUS_ALLOCATED |
                 (place == PLACE_ZERO ? BLOCK_STATUS_ZERO : BLOCK_STATUS_DATA),
        .bytes = *bytes,
    };
    return true;
}

int co_block_copy_frozen_status(BlockCopy *copy, bool want_zero, int64_t offset, int64_t bytes,
                                BlockStatus *status)
{
    bool pending;
    int ret = 0;

    do {
        if (!may_read(copy, offset, bytes)) {
            return -EACCES;
        }
        if (copy_saved_status(copy, offset, &bytes, status, &pending)) {
            break;
        }
        ret = co_block_status(pending ? copy->source : copy->target, want_zero, offset, bytes,
                              status);
    } while (ret == 0 && pending && status->bytes > 0 &&
             !copy_still_pending(copy, offset, status));
    /* As with a read: the copy may have failed, or the range have been discarded, meanwhile. */
    return ret == 0 && !may_read(copy, offset, status->bytes) ? -EACCES : ret;
}

/* --- discard --- */

static void forget(BlockCopy *copy, uint64_t first, uint64_t count)
{
    uint64_t block;

    sparse_bitmap_clear(copy->access, first, count);
    sparse_bitmap_clear(copy->pending, first, count);
    sparse_bitmap_clear(copy->zeroes, first, count);
    while (copy->staging && sparse_bitmap_next_set(staging_held(copy->staging), first,
                                                   first + count, &block)) {
        staging_page_free(copy->staging, staging_take(copy->staging, block));
    }
    while (copy->spill && sparse_bitmap_next_set(spill_held(copy->spill), first, first + count,
                                                 &block)) {
        spill_drop(copy->spill, block);
    }
    copy_spill_pump(copy);
}

/* The last unit may be cut by the end of the disk. */
static int64_t whole_units_end(const BlockCopy *copy, int64_t end)
{
    return end >= copy->size ? copy->size : align_down(end, copy->unit);
}

static bool can_be_read(const BlockCopy *copy, int64_t from, int64_t to)
{
    uint64_t block;

    return from < to && sparse_bitmap_next_set(copy->access, copy_first_block(copy, from),
                                               copy_end_block(copy, from, to - from), &block);
}

/*
 * Gives space back in whole clusters, where nothing else in the first and the last can be read any
 * more.
 */
static int co_free_target(BlockCopy *copy, int64_t start, int64_t end)
{
    int64_t low = align_down(start, copy->cluster_size);
    int64_t high = MIN(copy->size, align_up(end, copy->cluster_size));

    start = can_be_read(copy, low, start) ? start : low;
    end = can_be_read(copy, end, high) ? end : high;
    co_copy_wait_transits(copy, start, end - start); /* what lands later would stay there */
    return co_block_discard(copy->target, start, end - start);
}

/*
 * An image format gives up space at a flush, not before, and a scratch has nobody else who flushes.
 * @blocks were there: as many clusters, at the most.
 */
static void co_let_go(BlockCopy *copy, int64_t blocks, int64_t bytes)
{
    if (copy->takes_single_blocks) {
        return;
    }
    copy->freed += MIN(blocks * copy->cluster_size, align_up(bytes, copy->cluster_size));
    if (copy->freed >= FREED_BYTES || (copy->freed && !sparse_bitmap_count(copy->access))) {
        copy->freed = 0;
        (void)!co_block_copy_flush(copy); /* as the discard, it is advice */
    }
}

int co_block_copy_frozen_discard(BlockCopy *copy, int64_t offset, int64_t bytes)
{
    int64_t start = align_up(offset, copy->unit);
    int64_t end = whole_units_end(copy, offset + bytes);
    uint64_t first = copy_first_block(copy, start);
    int64_t before = copy_in_target(copy), gone;
    int ret;

    if (start >= end) {
        return 0;
    }
    forget(copy, first, copy_end_block(copy, start, end - start) - first);
    gone = before - copy_in_target(copy);
    ret = co_free_target(copy, start, end);
    if (ret == 0) {
        co_let_go(copy, gone / copy->block_size, end - start);
    }
    return ret;
}
