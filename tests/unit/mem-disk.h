/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For tests: a disk in memory that takes its time and fails as it is told.  It stands in for null-
 * co.
 *
 * Requests are done a page at a time with yields between, so that those that overlap are torn;
 * block status is old news by the time it is heard.
 */
#ifndef TESTS_UNIT_MEM_DISK_H
#define TESTS_UNIT_MEM_DISK_H

#include <stdlib.h>
#include <string.h>

#include "tests/unit/block-util.h"

#define MEM_PAGE 4096

static GRand *test_rand; /* made by main() from TIDEMARK_SEED */

static inline int test_range(int from, int below)
{
    return g_rand_int_range(test_rand, from, below);
}

static inline bool test_bit(void)
{
    return g_rand_boolean(test_rand);
}

typedef struct MemDisk {
    uint8_t *bytes;
    GRand *rand;
    int read_errors, write_errors; /* of 1000 requests */
    int host_errors;               /* of 1000 copies from another one to it */
    unsigned host_tries;           /* how often that was tried, */
    int64_t hosted;                /* and bytes that were copied so */
    int64_t slow_ns;               /* of each read or write … */
    int64_t slow_status_ns;        /* … and of block status */
    bool stuck;                    /* writes wait until it is not any more */
    unsigned flushes;
} MemDisk;

static inline MemDisk *mem_disk(const BlockNode *node)
{
    return node->state;
}

static inline bool mem_open(BlockNode *node, const BlockdevOptions *options, GError **errp)
{
    mem_disk(node)->bytes = g_malloc0(options->u.null_co.size);
    mem_disk(node)->rand = g_rand_new_with_seed(g_rand_int(test_rand));
    node->size = options->u.null_co.size;
    return true;
}

static inline void mem_close(BlockNode *node)
{
    g_free(mem_disk(node)->bytes);
    g_rand_free(mem_disk(node)->rand);
}

static inline bool mem_chance(MemDisk *d, int of_1000)
{
    return of_1000 && g_rand_int_range(d->rand, 0, 1000) < of_1000;
}

static inline void co_mem_dawdle(MemDisk *d)
{
    switch (g_rand_int_range(d->rand, 0, 8)) {
    case 0:
        co_sleep_ns(g_rand_int_range(d->rand, 0, 20000));
        break;
    case 1:
    case 2:
        co_pass();
        break;
    }
}

static inline void co_mem_slow(const MemDisk *d)
{
    if (d->slow_ns) {
        co_sleep_ns(d->slow_ns);
    }
}

static inline void co_mem_stuck(const MemDisk *d)
{
    while (d->stuck) {
        co_sleep_ns(200000);
    }
}

/* Data NULL: zeroes. */
static inline int co_mem_io(BlockNode *node, int64_t offset, int64_t len, const IoSlice *data,
                            bool write, int errors)
{
    MemDisk *d = mem_disk(node);
    int64_t fail_at = mem_chance(d, errors) ? g_rand_int_range(d->rand, 0, len) : INT64_MAX;

    for (int64_t done = 0, n; done < len; done += n) {
        uint8_t *at = d->bytes + offset + done;
        IoSlice part;

        n = MIN(len - done, MEM_PAGE - (offset + done) % MEM_PAGE);
        if (done + n > fail_at) {
            return -EIO;
        }
        if (data) {
            part = io_slice_sub(data, done, n);
        }
        if (write && data) {
            io_slice_read(&part, at);
        } else if (write) {
            memset(at, 0, n);
        } else {
            io_slice_write(&part, at, n);
        }
        co_mem_dawdle(d);
    }
    return 0;
}

static inline int co_mem_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    co_mem_slow(mem_disk(node));
    return co_mem_io(node, offset, data->len, data, false, mem_disk(node)->read_errors);
}

static inline int co_mem_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    co_mem_slow(mem_disk(node));
    co_mem_stuck(mem_disk(node));
    return co_mem_io(node, offset, data->len, data, true, mem_disk(node)->write_errors);
}

static inline int co_mem_zero(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    co_mem_slow(mem_disk(node));
    co_mem_stuck(mem_disk(node));
    return co_mem_io(node, offset, bytes, NULL, true, mem_disk(node)->write_errors);
}

static inline int co_mem_discard(BlockNode *node, int64_t offset, int64_t bytes)
{
    return co_mem_io(node, offset, bytes, NULL, true, 0);
}

static inline int co_mem_flush(BlockNode *node)
{
    mem_disk(node)->flushes++;
    co_mem_dawdle(mem_disk(node));
    return mem_chance(mem_disk(node), mem_disk(node)->write_errors) ? -EIO : 0;
}

static inline int co_mem_status(BlockNode *node, bool want_zero, int64_t offset, int64_t bytes,
                                BlockStatus *status)
{
    MemDisk *d = mem_disk(node);
    int64_t at = offset, n = MIN(bytes, MEM_PAGE);
    bool zero;

    if (d->slow_status_ns) {
        co_sleep_ns(d->slow_status_ns);
    }
    co_mem_dawdle(d);
    zero = buffer_is_zero(d->bytes + at, n);
    do {
        at += n;
        n = MIN(offset + bytes - at, MEM_PAGE);
    } while (n && buffer_is_zero(d->bytes + at, n) == zero);
    *status = (BlockStatus){
        .flags = zero ? BLOCK_STATUS_ZERO : BLOCK_STATUS_DATA,
        .bytes = at - offset,
    };
    co_mem_dawdle(d);
    return 0;
}

static inline int co_mem_copy_from(BlockNode *node, int64_t offset, BlockChild *target,
                                   int64_t target_offset, int64_t bytes)
{
    return co_block_copy_range_to(node, offset, target, target_offset, bytes);
}

static inline int co_mem_copy_to(BlockNode *node, int64_t offset, BlockNode *source,
                                 int64_t source_offset, int64_t bytes)
{
    MemDisk *d = mem_disk(node);
    struct iovec iov = { mem_disk(source)->bytes + source_offset, bytes };
    IoSlice data = io_slice(&iov, 1);
    int ret;

    d->host_tries++;
    co_mem_slow(d);
    co_mem_stuck(d);
    ret = co_mem_io(node, offset, bytes, &data, true, d->host_errors);
    d->hosted += ret == 0 ? bytes : 0;
    return ret;
}

static inline int64_t mem_get_size(BlockNode *node)
{
    return node->size;
}

static const BlockDriver mem_driver = {
    .id = BLOCKDEV_DRIVER_NULL_CO,
    .state_size = sizeof(MemDisk),
    .is_protocol = true,
    .co_open = mem_open,
    .co_close = mem_close,
    .co_read = co_mem_read,
    .co_write = co_mem_write,
    .co_write_zeroes = co_mem_zero,
    .co_discard = co_mem_discard,
    .co_flush = co_mem_flush,
    .co_block_status = co_mem_status,
    .co_copy_range_from = co_mem_copy_from,
    .co_copy_range_to = co_mem_copy_to,
    .co_get_size = mem_get_size,
    .supports_write_flags = BLOCK_FUA,
    .supports_write_zeroes_flags = BLOCK_FUA | BLOCK_MAY_UNMAP,
};

static inline BlockNode *co_mem_open(const char *name, int64_t size)
{
    return co_open_json("{'driver': 'null-co', 'node-name': '%s', 'size': %" G_GINT64_FORMAT
                        ", 'discard': 'unmap'}", name, size);
}

/*
 * --- a guest: writers whose requests never overlap, so that the disk has one right content -----
 */

#define GUEST_WRITERS 6

typedef struct MemGuest {
    TestUser user;
    BlockNode *disk;
    int64_t size;
    uint8_t *model;
    GRand *rand;
    struct {
        int64_t offset, bytes;
    } busy[GUEST_WRITERS];
    unsigned running;
    bool stop;
    bool may_fail;  /* writes may fail with the errors that the test asked for … */
    bool may_fail_to_read; /* … and reads */
    unsigned failed; /* how many did */
    uint64_t stamp;
    int64_t max_latency_ns;
} MemGuest;

static inline bool guest_claim(MemGuest *g, unsigned self, int64_t offset, int64_t bytes)
{
    for (unsigned i = 0; i < GUEST_WRITERS; i++) {
        if (offset < g->busy[i].offset + g->busy[i].bytes && g->busy[i].offset < offset + bytes) {
            return false;
        }
    }
    g->busy[self].offset = offset;
    g->busy[self].bytes = bytes;
    return true;
}

/* Small requests mostly, aligned or not, and a few large ones. */
static inline int64_t guest_pick(MemGuest *g, int64_t *offset)
{
    int kind = g_rand_int_range(g->rand, 0, 40);
    int64_t max = kind == 0 ? g->size / 2 : kind < 6 ? 200000 : 12000, bytes;

    if (kind > 25) {
        *offset = g_rand_int_range(g->rand, 0, g->size / 4096) * 4096;
        return 4096;
    }
    *offset = g_rand_int_range(g->rand, 0, g->size);
    bytes = g_rand_int_range(g->rand, 1, max);
    return MIN(bytes, g->size - *offset);
}

static inline void guest_fill(MemGuest *g, int64_t offset, int64_t bytes)
{
    uint64_t stamp = ++g->stamp * 0x9e3779b97f4a7c15;

    for (int64_t i = 0; i < bytes; i += sizeof(stamp)) {
        memcpy(g->model + offset + i, &stamp, MIN((size_t)(bytes - i), sizeof(stamp)));
    }
}

static inline int co_guest_change(MemGuest *g, int64_t offset, int64_t bytes)
{
    int ret = 0;

    switch (g_rand_int_range(g->rand, 0, 12)) {
    case 0:
        memset(g->model + offset, 0, bytes);
        return co_block_write_zeroes(g->user.child, offset, bytes, BLOCK_MAY_UNMAP);
    case 1:
        ret = co_block_discard(g->user.child, offset, bytes);
        break;
    }
    guest_fill(g, offset, bytes);
    return ret ? ret : co_block_write_buf(g->user.child, offset, g->model + offset, bytes, 0);
}

/* A failed write leaves the old bytes or the new ones: whatever the disk has is right. */
static inline void guest_note_failure(MemGuest *g, int64_t offset, int64_t bytes)
{
    g_assert_true(g->may_fail);
    g->failed++;
    memcpy(g->model + offset, mem_disk(g->disk)->bytes + offset, bytes);
}

static inline void co_guest_check(MemGuest *g, int64_t offset, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    if (co_block_read_buf(g->user.child, offset, buf, bytes) == 0) {
        g_assert_cmpint(memcmp(buf, g->model + offset, bytes), ==, 0);
    } else {
        g_assert_true(g->may_fail_to_read);
    }
}

static inline void co_guest_request(MemGuest *g, unsigned self)
{
    int64_t offset, bytes = guest_pick(g, &offset), start = loop_now_ns();

    if (!guest_claim(g, self, offset, bytes)) {
        return;
    }
    test_user_begin(&g->user);
    if (g_rand_int_range(g->rand, 0, 5) == 0) {
        co_guest_check(g, offset, bytes);
    } else if (co_guest_change(g, offset, bytes) < 0) {
        guest_note_failure(g, offset, bytes);
    }
    g->busy[self].bytes = 0;
    g->max_latency_ns = MAX(g->max_latency_ns, loop_now_ns() - start);
    test_user_end(&g->user);
}

typedef struct GuestWriter {
    MemGuest *guest;
    unsigned index;
} GuestWriter;

static inline void co_guest_writer(void *opaque)
{
    GuestWriter *w = opaque;
    MemGuest *g = w->guest;

    while (!g->stop) {
        if (g->user.quiesced) {
            co_sleep_ns(10000);
        } else {
            co_guest_request(g, w->index);
            if (g_rand_boolean(g->rand)) {
                co_sleep_ns(g_rand_int_range(g->rand, 0, 100000));
            } else {
                co_pass();
            }
        }
    }
    g->running--;
    g_free(w);
}

/* The guest writes through @node; what it has written is in @disk. */
static inline void co_guest_start(MemGuest *g, BlockNode *node, BlockNode *disk)
{
    *g = (MemGuest){ .disk = disk, .size = disk->size };
    g_assert_true(co_test_user_init(&g->user, node, BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE,
                                    BLOCK_PERM_ALL & ~BLOCK_PERM_RESIZE, NULL));
    g->model = g_memdup2(mem_disk(disk)->bytes, disk->size);
    g->rand = g_rand_new_with_seed(g_rand_int(test_rand));
    for (unsigned i = 0; i < GUEST_WRITERS; i++) {
        GuestWriter *w = g_new(GuestWriter, 1);

        *w = (GuestWriter){ g, i };
        g->running++;
        co_start(co_guest_writer, w);
    }
}

static inline void co_guest_stop(MemGuest *g)
{
    g->stop = true;
    while (g->running) {
        co_sleep_ns(10000);
    }
    g_assert_cmpint(memcmp(g->model, mem_disk(g->disk)->bytes, g->size), ==, 0);
    co_block_user_free(g->user.user);
    g_free(g->model);
    g_rand_free(g->rand);
}

#endif
