/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Saves: what a guest write does before it goes ahead.
 *
 * A save belongs to the copy and runs in a coroutine of its own: a request whose time is out leaves
 * it running, and later writers to the same blocks join it.  The owner node counts as in use
 * meanwhile, so that drain waits.
 */
#include <errno.h>
#include <stdlib.h>

#include "block/copy/copy-int.h"
#include "block/gate.h" /* a save keeps the owner in use, as a request does */

struct Save {
    BlockCopy *copy;
    uint64_t first, count; /* blocks, all pending when it began */
    bool done;
    int ret;
    unsigned refs; /* its coroutine and those who wait for it */
    CoQueue waiters;
    Save *next, **prev; /* copy->saves */
};

static Save *save_new(BlockCopy *copy, uint64_t first, uint64_t count)
{
    Save *save = g_new0(Save, 1);

    *save = (Save){
        .copy = copy, .first = first, .count = count, .refs = 1,
        .next = copy->saves, .prev = &copy->saves,
    };
    if (save->next) {
        save->next->prev = &save->next;
    }
    copy->saves = save;
    return save;
}

static void save_unref(Save *save)
{
    if (--save->refs == 0) {
        g_free(save);
    }
}

static void save_end(Save *save, int ret)
{
    *save->prev = save->next;
    if (save->next) {
        save->next->prev = save->prev;
    }
    save->done = true;
    save->ret = ret;
    co_queue_wake_all(&save->waiters);
    copy_notify(save->copy);
    save_unref(save);
}

void copy_wake_savers(BlockCopy *copy)
{
    for (Save *save = copy->saves; save; save = save->next) {
        co_queue_wake_all(&save->waiters);
    }
}

/* The save with the lowest first block among those that touch [first, end), or NULL. */
static Save *find_save(const BlockCopy *copy, uint64_t first, uint64_t end)
{
    Save *found = NULL;

    for (Save *save = copy->saves; save; save = save->next) {
        if (save->first < end && first < save->first + save->count &&
            (!found || save->first < found->first)) {
            found = save;
        }
    }
    return found;
}

/* --- staged --- */

static void save_page(Save *save, uint64_t block, void *page, int ret)
{
    BlockCopy *copy = save->copy;

    if (copy->off || !sparse_bitmap_clear(copy->pending, block, 1)) {
        /* Off: nobody waited for us.  Else the copier took it, or it was discarded. */
        staging_page_free(copy->staging, page);
        return;
    }
    if (ret < 0) {
        copy_lose(copy, block, ret);
        staging_page_free(copy->staging, page);
        return;
    }
    copy->kept_bytes += copy->block_size;
    if (buffer_is_zero(page, copy_blocks_bytes(copy, block, 1))) {
        sparse_bitmap_set(copy->zeroes, block, 1);
        staging_page_free(copy->staging, page);
    } else {
        staging_hold(copy->staging, block, page);
    }
}

static int co_read_pages(Save *save, struct iovec *iov)
{
    BlockCopy *copy = save->copy;
    IoSlice slice;

    for (uint64_t i = 0; i < save->count; i++) {
        iov[i].iov_base = staging_page(copy->staging);
        iov[i].iov_len = copy_blocks_bytes(copy, save->first + i, 1);
        if (!iov[i].iov_base) {
            return -ENOMEM;
        }
    }
    slice = io_slice(iov, save->count);
    return co_block_read(copy->source, copy_block_offset(copy, save->first), &slice, 0);
}

/* No room for too long: the backup fails, not the guest (I5), unless the copier came first. */
static void no_room(Save *save, int ret)
{
    uint64_t block;

    if (sparse_bitmap_next_set(save->copy->pending, save->first, save->first + save->count,
                               &block)) {
        block_copy_stop(save->copy, ret);
    }
}

/* I4: the guest waits for room and for this read, and for nothing else. */
static int co_save_staged(Save *save)
{
    BlockCopy *copy = save->copy;
    g_autofree struct iovec *iov = NULL;
    int ret;

    copy_tell_staging(copy);
    copy_spill_pump(copy);
    ret = co_staging_reserve(copy->staging, save->count);
    if (ret < 0) {
        no_room(save, ret);
        return 0;
    }
    iov = g_new0(struct iovec, save->count);
    ret = co_read_pages(save, iov);
    for (uint64_t i = 0; i < save->count; i++) {
        save_page(save, save->first + i, iov[i].iov_base, ret);
    }
    copy_tell_staging(copy);
    copy_spill_pump(copy);
    return 0;
}

/* --- write-through --- */

static int co_copy_piece(BlockCopy *copy, void *buf, int64_t offset, int64_t bytes)
{
    int ret = co_block_read_buf(copy->source, offset, buf, bytes);

    return ret < 0 ? ret : co_copy_write(copy, offset, buf, bytes, 0);
}

static int co_save_through(Save *save)
{
    BlockCopy *copy = save->copy;
    int64_t start = copy_block_offset(copy, save->first);
    int64_t bytes = copy_blocks_bytes(copy, save->first, save->count);
    void *buf = copy_alloc(copy, MIN(bytes, COPY_MAX_IO));
    int ret = buf ? 0 : -ENOMEM;

    for (int64_t done = 0; done < bytes && ret == 0; done += COPY_MAX_IO) {
        ret = co_copy_piece(copy, buf, start + done, MIN(COPY_MAX_IO, bytes - done));
    }
    free(buf);
    if (ret == 0 && !copy->off &&
        sparse_bitmap_clear(copy->pending, save->first, save->count) == save->count) {
        copy->saved_bytes += bytes;
        copy->kept_bytes += bytes;
        copy_tell_target(copy);
    }
    return ret;
}

/* --- one guest write --- */

static void co_save_run(void *opaque)
{
    Save *save = opaque;
    BlockNode *owner = save->copy->owner;
    int ret;

    gate_enter(owner);
    ret = save->copy->staging ? co_save_staged(save) : co_save_through(save);
    save_end(save, ret);
    gate_leave(owner);
}

/* The first run of blocks from *at on that is pending and not being saved; *at is moved there. */
static uint64_t next_unsaved(const BlockCopy *copy, uint64_t *at, uint64_t end)
{
    uint64_t run, count;

    while (sparse_bitmap_next_run(copy->pending, *at, end, &run, &count)) {
        const Save *save = find_save(copy, run, run + count);

        *at = run;
        if (!save) {
            return count;
        }
        if (save->first > run) {
            return save->first - run;
        }
        *at = save->first + save->count;
    }
    return 0;
}

/* A save begins at once, and may even end at once: then this is its result. */
static int start_save(BlockCopy *copy, uint64_t first, uint64_t count)
{
    Save *save = save_new(copy, first, count);
    int ret;

    save->refs++;
    co_start(co_save_run, save);
    ret = save->ret;
    save_unref(save);
    return ret;
}

static int start_saves(BlockCopy *copy, uint64_t first, uint64_t end)
{
    uint64_t max = MAX(1, COPY_MAX_IO / copy->block_size);
    uint64_t at = first, count;
    int ret = 0;

    while (ret == 0 && !copy->off && (count = next_unsaved(copy, &at, end)) > 0) {
        count = MIN(count, max);
        ret = start_save(copy, at, count);
        at += count;
    }
    return ret;
}

/* The save's result once it is done; 0 when the copy was turned off meanwhile. */
static int co_save_wait(Save *save, int64_t deadline)
{
    BlockCopy *copy = save->copy;
    bool in_time = true;
    int ret;

    save->refs++;
    while (!save->done && !copy->off && in_time) {
        in_time = co_queue_wait_until(&save->waiters, deadline);
    }
    ret = save->done ? save->ret : in_time ? 0 : -ETIMEDOUT;
    save_unref(save);
    return ret;
}

static int co_wait_saves(BlockCopy *copy, uint64_t first, uint64_t end, int64_t deadline)
{
    Save *save;
    int ret = 0;

    while (!copy->off && ret == 0 && (save = find_save(copy, first, end))) {
        ret = co_save_wait(save, deadline);
    }
    return copy->off ? 0 : ret;
}

static void note_wait(BlockCopy *copy, int64_t began)
{
    int64_t now = loop_now_ns();

    meter_add(&copy->guest_waits, now, now - began);
}

int co_block_copy_save(BlockCopy *copy, int64_t offset, int64_t bytes)
{
    uint64_t first = copy_first_block(copy, offset);
    uint64_t end = copy_end_block(copy, offset, copy_clip(copy, offset, bytes));
    int64_t began = loop_now_ns();
    int64_t deadline = copy->timeout_ns ? began + copy->timeout_ns : INT64_MAX;
    uint64_t block;
    bool waited = false;
    int ret = 0;

    while (ret == 0 && !copy->off && first < end &&
           sparse_bitmap_next_set(copy->pending, first, end, &block)) {
        waited = true;
        ret = start_saves(copy, first, end);
        if (ret == 0) {
            ret = co_wait_saves(copy, first, end, deadline);
        }
    }
    if (waited) {
        note_wait(copy, began);
    }
    if (ret < 0 && !copy->break_guest_write) {
        block_copy_stop(copy, ret);
        ret = 0;
    }
    return ret;
}
