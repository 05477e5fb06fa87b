/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For tests of drivers: random requests to a disk, many at a time, against a naive model of its
 * bytes. Each of the writers has stripes of its own, so that what is read is always known.
 */
#ifndef TESTS_UNIT_DISK_MODEL_H
#define TESTS_UNIT_DISK_MODEL_H

#include <errno.h>
#include <string.h>

#include "tests/unit/block-util.h"

#define MODEL_SIZE (1 << 20)

typedef struct DiskModel {
    uint8_t *bytes;
    unsigned running;
    Co *parent;
} DiskModel;

typedef struct ModelWriter {
    DiskModel *model;
    BlockChild *child;
    GRand *rand;
    int64_t start, end; /* its part of the disk */
    unsigned rounds;
} ModelWriter;

static inline DiskModel *disk_model_new(void)
{
    DiskModel *model = g_new0(DiskModel, 1);

    model->bytes = g_malloc0(MODEL_SIZE);
    return model;
}

static inline void disk_model_free(DiskModel *model)
{
    g_free(model->bytes);
    g_free(model);
}

/* @len bytes at @buf as up to three buffers. */
static inline IoSlice model_slice(ModelWriter *w, struct iovec *iov, uint8_t *buf, size_t len)
{
    unsigned n = g_rand_int_range(w->rand, 1, 4);
    size_t at = 0;

    for (unsigned i = 0; i < n; i++) {
        size_t part = i == n - 1 ? len - at : (size_t)g_rand_int_range(w->rand, 0, len - at + 1);

        iov[i] = (struct iovec){buf + at, part};
        at += part;
    }
    return io_slice(iov, n);
}

static inline void co_model_write(ModelWriter *w, int64_t offset, size_t len)
{
    g_autofree uint8_t *buf = g_malloc(len);
    unsigned flags = g_rand_int_range(w->rand, 0, 4) == 0 ? BLOCK_FUA : 0;
    struct iovec iov[3];
    IoSlice data = model_slice(w, iov, buf, len);

    memset(buf, g_rand_int_range(w->rand, 0, 256), len);
    g_assert_cmpint(co_block_write(w->child, offset, &data, flags), ==, 0);
    memcpy(w->model->bytes + offset, buf, len);
}

static inline void co_model_read(ModelWriter *w, int64_t offset, size_t len)
{
    g_autofree uint8_t *buf = g_malloc(len);
    struct iovec iov[3];
    IoSlice data = model_slice(w, iov, buf, len);

    memset(buf, 0x5a, len);
    g_assert_cmpint(co_block_read(w->child, offset, &data, 0), ==, 0);
    g_assert_cmpmem(buf, len, w->model->bytes + offset, len);
}

static inline void co_model_zero(ModelWriter *w, int64_t offset, size_t len)
{
    unsigned flags = g_rand_boolean(w->rand) ? BLOCK_MAY_UNMAP : 0;
    int ret;

    if (g_rand_int_range(w->rand, 0, 4) == 0) {
        ret = co_block_write_zeroes(w->child, offset, len, flags | BLOCK_NO_FALLBACK);
        if (ret == -ENOTSUP) {
            ret = co_block_write_zeroes(w->child, offset, len, flags);
        }
    } else {
        ret = co_block_write_zeroes(w->child, offset, len, flags | BLOCK_FUA);
    }
    g_assert_cmpint(ret, ==, 0);
    memset(w->model->bytes + offset, 0, len);
}

/* What a discarded range reads as is not said: it is written again. */
static inline void co_model_discard(ModelWriter *w, int64_t offset, size_t len)
{
    g_assert_cmpint(co_block_discard(w->child, offset, len), ==, 0);
    co_model_write(w, offset, len);
}

static inline void co_model_step(ModelWriter *w)
{
    int64_t offset = g_rand_int_range(w->rand, w->start, w->end);
    size_t len = g_rand_int_range(w->rand, 1, MIN(w->end - offset, 70000) + 1);

    switch (g_rand_int_range(w->rand, 0, 6)) {
    case 0:
    case 1:
        co_model_write(w, offset, len);
        break;
    case 2:
        co_model_zero(w, offset, len);
        break;
    case 3:
        co_model_discard(w, offset, len);
        break;
    default:
        co_model_read(w, offset, len);
    }
}

static inline void co_model_writer(void *opaque)
{
    ModelWriter *w = opaque;

    for (unsigned i = 0; i < w->rounds; i++) {
        co_model_step(w);
    }
    if (--w->model->running == 0) {
        co_wake(w->model->parent);
    }
}

static inline void co_disk_model_exercise(DiskModel *model, BlockChild *child, unsigned writers,
                                          unsigned rounds)
{
    g_autofree ModelWriter *all = g_new(ModelWriter, writers);

    model->running = writers;
    model->parent = co_self();
    for (unsigned i = 0; i < writers; i++) {
        all[i] = (ModelWriter){
            .model = model,
            .child = child,
            .rand = g_rand_new_with_seed(g_test_rand_int()),
            .start = (int64_t)MODEL_SIZE * i / writers + (i ? 100 : 0),
            .end = (int64_t)MODEL_SIZE * (i + 1) / writers + (i + 1 < writers ? 100 : 0),
            .rounds = rounds,
        };
        co_start(co_model_writer, &all[i]);
    }
    co_yield ();
    for (unsigned i = 0; i < writers; i++) {
        g_rand_free(all[i].rand);
    }
}

/* --- a test's body with the control lock ------------------------------------------------------ */

static inline void co_with_control(void *opaque)
{
    CoFn *const *fn = opaque;

    control_init(loop_current());
    co_control_lock();
    (*fn)(NULL);
    g_assert_cmpint(block_nodes()->len, ==, 0);
    control_unlock();
}

/* @fn: a pointer to the CoFn. */
static inline void run_control(gconstpointer fn)
{
    run_in_co(co_with_control, (void *)fn);
}

/* Adds a test whose body is a coroutine on loop 0 with the control lock held. */
static inline void add_control_test(const char *path, CoFn *fn)
{
    g_test_add_data_func_full(path, g_memdup2(&fn, sizeof(fn)), run_control, g_free);
}

#endif
