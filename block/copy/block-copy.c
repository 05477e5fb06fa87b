/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The states of a copy; see block-copy.h.  Saves are in save.c, the frozen view in frozen.c. */
#include "block/copy/copy-int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "block/graph.h"
#include "block/node-bitmaps.h"
#include "util/error.h"

static void make_sets(BlockCopy *copy)
{
    uint64_t n = copy_n_blocks(copy);

    copy->pending = sparse_bitmap_new(n);
    copy->zeroes = sparse_bitmap_new(n);
    copy->lost = sparse_bitmap_new(n);
    copy->access = sparse_bitmap_new(n);
    copy->hosted = sparse_bitmap_new(n);
}

static void make_staging(BlockCopy *copy, const BlockCopyOptions *options)
{
    size_t bytes = options->staging_bytes ? options->staging_bytes : COPY_STAGING_BYTES;

    copy->staging = staging_new(copy_n_blocks(copy), copy->block_size, bytes,
                                options->room_limit_ns);
}

BlockCopy *block_copy_new(const BlockCopyOptions *options)
{
    BlockCopy *copy = g_new0(BlockCopy, 1);
    bool staged = options->mode == BLOCK_COPY_STAGED;
    int64_t align = options->source->node->limits.request_alignment;

    copy->owner = options->owner;
    copy->source = options->source;
    copy->target = options->target;
    copy->size = options->source->node->size;
    copy->cluster_size = options->cluster_size;
    copy->block_size =
        staged ? MIN(MAX(COPY_MIN_BLOCK, align), MIN(options->cluster_size, STAGING_MAX_BLOCK))
               : options->cluster_size;
    copy->unit = options->by_blocks ? copy->block_size : copy->cluster_size;
    copy->break_guest_write = options->break_guest_write;
    copy->timeout_ns = options->timeout_ns;
    copy->job_id = g_strdup(options->job_id);
    copy->target_threshold = options->target_threshold;
    if (block_graph_is_below(copy->target->node, copy->source->node)) {
        copy->target_flags = BLOCK_SERIALISING;
    }
    copy->takes_single_blocks =
        block_node_cluster_size(copy->target->node) <= copy->block_size;
    make_sets(copy);
    if (staged) {
        make_staging(copy, options);
    }
    return copy;
}

void block_copy_spill_to(BlockCopy *copy, int64_t bytes, int fd)
{
    copy->spill = spill_new(copy_n_blocks(copy), copy->block_size, bytes, fd);
}

int block_copy_dup_spill(const BlockCopy *copy)
{
    return copy->spill ? spill_dup_file(copy->spill) : -1;
}

void block_copy_free(BlockCopy *copy)
{
    if (!copy) {
        return;
    }
    g_assert(!copy->saves && !copy->transits && !copy->spilling);
    block_copy_hide_in_target(copy);
    copy_buffers_free(copy);
    spill_free(copy->spill);
    staging_free(copy->staging);
    sparse_bitmap_free(copy->pending);
    sparse_bitmap_free(copy->zeroes);
    sparse_bitmap_free(copy->lost);
    sparse_bitmap_free(copy->access);
    sparse_bitmap_free(copy->hosted);
    g_free(copy->job_id);
    g_free(copy);
}

void block_copy_select_all(BlockCopy *copy)
{
    sparse_bitmap_set_all(copy->pending);
    sparse_bitmap_set_all(copy->access);
    copy->selected = sparse_bitmap_count(copy->access);
}

static void select_units(BlockCopy *copy, int64_t offset, int64_t bytes)
{
    int64_t start = align_down(offset, copy->unit);
    int64_t end = MIN(copy->size, align_up(offset + bytes, copy->unit));
    uint64_t first = copy_first_block(copy, start);
    uint64_t count = copy_end_block(copy, start, end - start) - first;

    sparse_bitmap_set(copy->pending, first, count);
    sparse_bitmap_set(copy->access, first, count);
}

bool block_copy_select_dirty(BlockCopy *copy, const DirtyBitmap *bitmap, GError **errp)
{
    int64_t start, bytes;

    if (dirty_bitmap_size(bitmap) != copy->size) {
        return tm_error_set(errp, "Bitmaps are of different sizes (destination size is %" PRId64
                            " and source size is %" PRId64 ") and can't be merged",
                            copy->size, dirty_bitmap_size(bitmap));
    }
    for (int64_t at = 0;
         dirty_bitmap_next_area(bitmap, at, copy->size, INT64_MAX, &start, &bytes);
         at = start + bytes) {
        select_units(copy, start, bytes);
    }
    copy->selected = sparse_bitmap_count(copy->access);
    return true;
}

int64_t block_copy_cluster_size(const BlockCopy *copy)
{
    return copy->cluster_size;
}

/* Only the last block can be short. */
static int64_t bytes_of(const BlockCopy *copy, const SparseBitmap *set)
{
    uint64_t n = copy_n_blocks(copy);
    int64_t bytes = sparse_bitmap_count(set) * copy->block_size;

    if (n && sparse_bitmap_get(set, n - 1)) {
        bytes -= n * copy->block_size - copy->size;
    }
    return bytes;
}

int64_t block_copy_selected_bytes(const BlockCopy *copy)
{
    return bytes_of(copy, copy->pending) + bytes_of(copy, copy->zeroes) +
           (copy->staging ? bytes_of(copy, staging_held(copy->staging)) : 0) +
           (copy->spill ? bytes_of(copy, spill_held(copy->spill)) : 0);
}

bool block_copy_next_pending(const BlockCopy *copy, int64_t offset, int64_t bytes, int64_t *at)
{
    uint64_t block;

    bytes = copy_clip(copy, offset, bytes);
    if (copy->off || bytes == 0 ||
        !sparse_bitmap_next_set(copy->pending, copy_first_block(copy, offset),
                                copy_end_block(copy, offset, bytes), &block)) {
        return false;
    }
    *at = MAX(offset, copy_block_offset(copy, block));
    return true;
}

int64_t block_copy_pending_run(const BlockCopy *copy, int64_t offset, int64_t bytes)
{
    uint64_t end = copy_end_block(copy, offset, bytes);

    sparse_bitmap_next_clear(copy->pending, copy_first_block(copy, offset), end, &end);
    return MIN(bytes, copy_block_offset(copy, end) - offset);
}

bool block_copy_is_staged(const BlockCopy *copy)
{
    return copy->staging != NULL;
}

void block_copy_stop(BlockCopy *copy, int error)
{
    if (copy->off) {
        return;
    }
    copy->error = error;
    copy->off = true;
    if (copy->staging) {
        staging_stop(copy->staging);
    }
    copy_wake_savers(copy);
    copy_notify(copy);
}

bool block_copy_stopped(const BlockCopy *copy)
{
    return copy->off;
}

int block_copy_error(const BlockCopy *copy)
{
    return copy->error;
}

void copy_lose(BlockCopy *copy, uint64_t block, int error)
{
    sparse_bitmap_set(copy->lost, block, 1);
    if (!copy->lost_error) {
        copy->lost_error = error;
    }
}

int block_copy_lost_error(const BlockCopy *copy)
{
    return copy->lost_error;
}

static void mark_set(const BlockCopy *copy, const SparseBitmap *set, DirtyBitmap *bitmap)
{
    uint64_t run, count;

    for (uint64_t at = 0; sparse_bitmap_next_run(set, at, UINT64_MAX, &run, &count);
         at = run + count) {
        dirty_bitmap_set(bitmap, copy_block_offset(copy, run), copy_blocks_bytes(copy, run, count));
    }
}

void block_copy_mark_lost(const BlockCopy *copy, DirtyBitmap *bitmap)
{
    mark_set(copy, copy->lost, bitmap);
}

void block_copy_mark_rest(const BlockCopy *copy, DirtyBitmap *bitmap)
{
    mark_set(copy, copy->pending, bitmap);
    mark_set(copy, copy->zeroes, bitmap);
    mark_set(copy, copy->lost, bitmap);
    if (copy->staging) {
        mark_set(copy, staging_held(copy->staging), bitmap);
    }
    if (copy->spill) {
        mark_set(copy, spill_held(copy->spill), bitmap);
    }
}

/* --- the guest --- */

static uint64_t room_waits(const BlockCopy *copy)
{
    return copy->staging ? staging_waits(copy->staging) : 0;
}

BlockCopyGuest block_copy_guest_begin(BlockCopy *copy, bool is_read)
{
    BlockCopyGuest guest = { .counts = !(is_read && copy_readers_give_way(copy)) };

    if (guest.counts) {
        guest.began = loop_now_ns();
        guest.room_waits = room_waits(copy);
        if (copy->pace) {
            pace_guest_begin(copy->pace, guest.began);
        }
    }
    return guest;
}

void block_copy_guest_end(BlockCopy *copy, const BlockCopyGuest *guest)
{
    int64_t now;

    if (!guest->counts) {
        return;
    }
    now = loop_now_ns();
    meter_add(&copy->guest_requests, now, 1);
    if (copy->pace) {
        pace_guest_end(copy->pace, now, guest->began, room_waits(copy) == guest->room_waits);
        copy->slowed_ns = pace_added_ns(copy->pace, now);
    }
}

/* --- who is told --- */

void block_copy_set_notify(BlockCopy *copy, BlockCopyNotifyFn *fn, void *opaque)
{
    copy->notify = fn;
    copy->notify_opaque = opaque;
}

int64_t block_copy_saved_bytes(const BlockCopy *copy)
{
    return copy->saved_bytes;
}

/* --- transits --- */

void copy_transit_begin(BlockCopy *copy, Transit *transit, const GArray *parts)
{
    *transit = (Transit){ .parts = parts, .next = copy->transits, .prev = &copy->transits };
    if (transit->next) {
        transit->next->prev = &transit->next;
    }
    copy->transits = transit;
}

void copy_transit_end(BlockCopy *copy, Transit *transit)
{
    *transit->prev = transit->next;
    if (transit->next) {
        transit->next->prev = transit->prev;
    }
    co_queue_wake_all(&copy->transit_stops);
}

static bool moves_in(const Transit *transit, int64_t offset, int64_t bytes)
{
    for (unsigned i = 0; transit->moving && i < transit->parts->len; i++) {
        const CopyPart *part = &g_array_index(transit->parts, CopyPart, i);

        if (range_overlaps(part->offset, part->bytes, offset, bytes)) {
            return true;
        }
    }
    return false;
}

static bool is_moving(const BlockCopy *copy, int64_t offset, int64_t bytes)
{
    uint64_t block;
    bool moves = sparse_bitmap_next_set(copy->hosted, copy_first_block(copy, offset),
                                        copy_end_block(copy, offset, bytes), &block);

    for (const Transit *t = copy->transits; t && !moves; t = t->next) {
        moves = moves_in(t, offset, bytes);
    }
    return moves;
}

void co_copy_wait_transits(BlockCopy *copy, int64_t offset, int64_t bytes)
{
    while (is_moving(copy, offset, bytes)) {
        co_queue_wait(&copy->transit_stops);
    }
}

static const CopyPart *find_part(const Transit *transit, int64_t offset)
{
    for (unsigned i = 0; i < transit->parts->len; i++) {
        const CopyPart *part = &g_array_index(transit->parts, CopyPart, i);

        if (range_contains(part->offset, part->bytes, offset, 1)) {
            return part;
        }
    }
    return NULL;
}

const CopyPart *copy_transit_find(const BlockCopy *copy, int64_t offset)
{
    const CopyPart *part = NULL;

    for (const Transit *t = copy->transits; t && !part; t = t->next) {
        part = find_part(t, offset);
    }
    return part;
}

/* --- the target --- */

void *copy_alloc(const BlockCopy *copy, size_t len)
{
    const BlockNode *source = copy->source->node, *target = copy->target->node;
    bool by_target = target->limits.mem_alignment > source->limits.mem_alignment;

    return block_alloc(by_target ? target : source, len);
}

int co_copy_write(BlockCopy *copy, int64_t offset, const void *buf, int64_t bytes, unsigned flags)
{
    flags |= copy->target_flags;
    if (!buf || buffer_is_zero(buf, bytes)) {
        return co_block_write_zeroes(copy->target, offset, bytes,
                                     (flags & ~BLOCK_COMPRESSED) | BLOCK_MAY_UNMAP);
    }
    return co_block_write_buf(copy->target, offset, buf, bytes, flags);
}

int co_block_copy_flush(BlockCopy *copy)
{
    return co_block_flush(copy->target);
}
