/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For tests: a layer in memory on top of another node, as qcow2 with a backing file would be; it
 * stands in for raw.  What it does not have it reads below, late; it gets whole clusters at a time,
 * with what is below around that which is written.
 */
#ifndef TESTS_UNIT_COW_DISK_H
#define TESTS_UNIT_COW_DISK_H

#include "tests/unit/mem-disk.h"

#define COW_CLUSTER 16384

typedef struct CowDisk {
    uint8_t *bytes;
    uint8_t *have; /* a byte for each cluster */
    BlockChild *below;
    CoMutex lock; /* of changes */
    GRand *rand;
    int write_errors; /* of 1000 requests */
    int64_t slow_ns;  /* of writes */
} CowDisk;

static inline CowDisk *cow_disk(const BlockNode *node)
{
    return node->state;
}

static inline bool cow_co_open(BlockNode *node, const BlockdevOptions *options, GError **errp)
{
    CowDisk *d = cow_disk(node);

    d->below = co_block_open_child(node, options->u.raw.file, "backing", BLOCK_ROLE_COW, errp);
    g_assert_nonnull(d->below);
    node->size = d->below->node->size;
    d->bytes = g_malloc0(align_up(node->size, COW_CLUSTER));
    d->have = g_malloc0(node->size / COW_CLUSTER + 1);
    d->rand = g_rand_new_with_seed(g_rand_int(test_rand));
    return true;
}

static inline void cow_close(BlockNode *node)
{
    g_free(cow_disk(node)->bytes);
    g_free(cow_disk(node)->have);
    g_rand_free(cow_disk(node)->rand);
}

static inline void co_cow_dawdle(CowDisk *d)
{
    co_sleep_ns(g_rand_int_range(d->rand, 0, 100000));
}

static inline int co_cow_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    CowDisk *d = cow_disk(node);
    int ret = 0;

    for (int64_t done = 0, n, len = data->len; done < len && ret == 0; done += n) {
        int64_t at = offset + done;
        IoSlice part;

        n = MIN(len - done, COW_CLUSTER - at % COW_CLUSTER);
        part = io_slice_sub(data, done, n);
        if (d->have[at / COW_CLUSTER]) {
            io_slice_write(&part, d->bytes + at, n);
        } else {
            co_cow_dawdle(d);
            ret = co_block_read(d->below, at, &part, 0);
        }
    }
    return ret;
}

/* The lock is held. */
static inline int co_cow_get_cluster(BlockNode *node, int64_t cluster)
{
    CowDisk *d = cow_disk(node);
    int64_t start = cluster * COW_CLUSTER;
    int ret = 0;

    if (!d->have[cluster]) {
        ret = co_block_read_buf(d->below, start, d->bytes + start,
                                MIN(COW_CLUSTER, node->size - start));
        co_cow_dawdle(d);
    }
    return ret;
}

/* Data NULL: zeroes. */
static inline int co_cow_change(BlockNode *node, int64_t offset, int64_t len, const IoSlice *data)
{
    CowDisk *d = cow_disk(node);
    int ret = mem_chance((MemDisk[]){ { .rand = d->rand } }, d->write_errors) ? -EIO : 0;

    if (d->slow_ns) {
        co_sleep_ns(d->slow_ns);
    }
    co_mutex_lock(&d->lock);
    for (int64_t done = 0, n; done < len && ret == 0; done += n) {
        int64_t at = offset + done;

        n = MIN(len - done, COW_CLUSTER - at % COW_CLUSTER);
        ret = co_cow_get_cluster(node, at / COW_CLUSTER);
        if (ret == 0 && data) {
            IoSlice part = io_slice_sub(data, done, n);

            io_slice_read(&part, d->bytes + at);
        } else if (ret == 0) {
            memset(d->bytes + at, 0, n);
        }
        d->have[at / COW_CLUSTER] |= ret == 0;
    }
    co_mutex_unlock(&d->lock);
    return ret;
}

static inline int co_cow_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    return co_cow_change(node, offset, data->len, data);
}

static inline int co_cow_zero(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    return co_cow_change(node, offset, bytes, NULL);
}

static inline int co_cow_status(BlockNode *node, bool want_zero, int64_t offset, int64_t bytes,
                                BlockStatus *status)
{
    CowDisk *d = cow_disk(node);
    int64_t n = MIN(bytes, COW_CLUSTER - offset % COW_CLUSTER);
    bool zero = buffer_is_zero(d->bytes + offset, n);

    *status = (BlockStatus){
        .flags = !d->have[offset / COW_CLUSTER] ? 0 : zero ? BLOCK_STATUS_ZERO : BLOCK_STATUS_DATA,
        .bytes = n,
    };
    co_cow_dawdle(d);
    return 0;
}

static inline int64_t cow_get_size(BlockNode *node)
{
    return node->size;
}

static const BlockDriver cow_driver = {
    .id = BLOCKDEV_DRIVER_RAW,
    .state_size = sizeof(CowDisk),
    .supports_backing = true,
    .co_open = cow_co_open,
    .co_close = cow_close,
    .co_read = co_cow_read,
    .co_write = co_cow_write,
    .co_write_zeroes = co_cow_zero,
    .co_block_status = co_cow_status,
    .co_get_size = cow_get_size,
};

#endif
