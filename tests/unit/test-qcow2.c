/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The qcow2 driver: random requests, many at a time, to images that QEMU's tools made, against a
 * model of the disk; after closing the image must be clean to qemu-img check, and hold what the
 * model says.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/block-util.h"

#define PARALLEL 8

typedef struct Kind {
    const char *name;
    const char *options; /* of qemu-img create -o; DATA stands for the data file's path */
    int64_t size;
    const char *backing; /* NULL, or the options of the backing file, "raw" for a raw one */
    const char *open;    /* further options of blockdev-add, with a comma in front */
    bool internal_snapshot;
} Kind;

#define KIB INT64_C(1024)
#define MIB (INT64_C(1024) * 1024)

static const Kind kinds[] = {
    { "default", "compat=1.1", 8 * MIB, NULL, "", false },
    { "v2", "compat=0.10", 8 * MIB, NULL, "", false },
    { "cluster-512", "cluster_size=512", MIB + 512, NULL, "", false },
    { "cluster-512-refcount-64", "cluster_size=512,refcount_bits=64", MIB, NULL, "", false },
    { "cluster-1k-v2", "cluster_size=1024,compat=0.10", MIB, NULL, "", false },
    { "cluster-4k-refcount-1", "cluster_size=4k,refcount_bits=1", 4 * MIB, NULL, "", false },
    { "refcount-2", "cluster_size=1k,refcount_bits=2", 2 * MIB, NULL, "", false },
    { "refcount-4", "cluster_size=2k,refcount_bits=4", 2 * MIB, NULL, "", true },
    { "refcount-8", "refcount_bits=8", 6 * MIB, NULL, "", false },
    { "refcount-32", "refcount_bits=32,cluster_size=32k", 6 * MIB, NULL, "", false },
    { "cluster-2m", "cluster_size=2M", 19 * MIB + 512, NULL, "", false },
    { "extended", "extended_l2=on", 8 * MIB, NULL, "", false },
    { "extended-16k", "extended_l2=on,cluster_size=16k", 5 * MIB + 512, NULL, "", false },
    { "extended-snapshot", "extended_l2=on,cluster_size=32k", 5 * MIB, NULL, "", true },
    { "lazy", "lazy_refcounts=on", 8 * MIB, NULL, "", false },
    { "lazy-512", "lazy_refcounts=on,cluster_size=512", MIB, NULL, "", false },
    { "data-file", "data_file=DATA", 8 * MIB, NULL, "", false },
    { "data-file-raw", "data_file=DATA,data_file_raw=on", 8 * MIB, NULL, "", false },
    { "data-file-extended", "data_file=DATA,extended_l2=on", 8 * MIB, NULL, "", false },
    { "backing-qcow2", "cluster_size=64k", 8 * MIB, "cluster_size=4k", "", false },
    { "backing-raw", "cluster_size=8k", 4 * MIB, "raw", "", true },
    { "backing-extended", "extended_l2=on", 8 * MIB, "cluster_size=512", "", false },
    { "snapshot", "cluster_size=4k", 4 * MIB, NULL, "", true },
    { "snapshot-v2", "cluster_size=64k,compat=0.10", 4 * MIB, NULL, "", true },
    { "small-cache", "cluster_size=4k", 4 * MIB, NULL,
      ", 'l2-cache-size': 2048, 'l2-cache-entry-size': 512", true },
    { "discard", "cluster_size=16k", 8 * MIB, NULL,
      ", 'discard': 'unmap', 'pass-discard-other': true", false },
    { "no-unref", "cluster_size=16k", 8 * MIB, "cluster_size=64k",
      ", 'discard': 'unmap', 'discard-no-unref': true, 'overlap-check': 'all'", false },
    { "metadata", "preallocation=metadata", 8 * MIB, NULL, ", 'overlap-check': 'none'", false },
};

/* --- tools -------------------------------------------------------------------------------- */

static void run(const char *format, ...) G_GNUC_PRINTF(1, 2);
static void run(const char *format, ...)
{
    g_autofree char *command = NULL, *out = NULL, *err = NULL;
    g_autoptr(GError) error = NULL;
    int status = 0;
    va_list ap;

    va_start(ap, format);
    command = g_strdup_vprintf(format, ap);
    va_end(ap);
    g_spawn_command_line_sync(command, &out, &err, &status, &error);
    g_assert_no_error(error);
    if (status != 0) {
        g_printerr("%s\n%s%s", command, out, err);
    }
    g_assert_cmpint(status, ==, 0);
}

/* --- one image ---------------------------------------------------------------------------- */

typedef struct Disk {
    const Kind *kind;
    GRand *rand;
    char *folder, *path;
    uint8_t *model;
    int64_t size; /* of the disk now */
    BlockNode *node;
    TestUser user;
    unsigned running;
    Co *parent;
} Disk;

static char *in_folder(const Disk *d, const char *name)
{
    return g_build_filename(d->folder, name, NULL);
}

static void fill_random(const Disk *d, uint8_t *buf, size_t len)
{
    uint8_t byte = g_rand_int(d->rand);

    for (size_t i = 0; i < len; i++) {
        buf[i] = byte + i / 61;
    }
}

/* A backing file with something in it, a little smaller than the disk. */
static void make_backing(Disk *d)
{
    g_autofree char *path = in_folder(d, "backing"), *raw = in_folder(d, "backing.raw");
    int64_t size = d->kind->size - 64 * KIB;
    g_autofree uint8_t *data = g_malloc0(size);

    for (int i = 0; i < 20; i++) {
        int64_t at = g_rand_int_range(d->rand, 0, size), len = MIN(size - at, 100 * KIB);

        fill_random(d, data + at, len);
    }
    g_assert_true(g_file_set_contents(raw, (char *)data, size, NULL));
    memcpy(d->model, data, size);
    if (strcmp(d->kind->backing, "raw") == 0) {
        run("cp %s %s", raw, path);
    } else {
        run("qemu-img convert -f raw -O qcow2 -o %s %s %s", d->kind->backing, raw, path);
    }
}

static void make_disk_image(Disk *d)
{
    g_autofree char *data_file = in_folder(d, "data");
    g_auto(GStrv) parts = g_strsplit(d->kind->options, "DATA", 2);
    g_autofree char *options = g_strjoinv(data_file, parts);
    g_autofree char *backing = g_strdup("");

    d->path = in_folder(d, "disk");
    if (d->kind->backing) {
        make_backing(d);
        g_free(backing);
        backing = g_strdup_printf("-b backing -F %s",
                                  strcmp(d->kind->backing, "raw") == 0 ? "raw" : "qcow2");
    }
    run("qemu-img create -q -f qcow2 -o %s %s %s %" PRId64, options, backing, d->path,
        d->kind->size);
}

static void disk_init(Disk *d, const Kind *kind)
{
    const char *seed = g_getenv("TIDEMARK_SEED");
    guint32 number = seed ? (guint32)strtoul(seed, NULL, 0) : g_random_int();
    g_autoptr(GError) error = NULL;

    g_test_message("%s: TIDEMARK_SEED=%u", kind->name, number);
    *d = (Disk){
        .kind = kind,
        .rand = g_rand_new_with_seed(number),
        .model = g_malloc0(kind->size),
        .size = kind->size,
    };
    d->folder = g_dir_make_tmp("tidemark-qcow2-XXXXXX", &error);
    g_assert_no_error(error);
    make_disk_image(d);
}

static void disk_clear(Disk *d)
{
    run("rm -r %s", d->folder);
    g_free(d->folder);
    g_free(d->path);
    g_free(d->model);
    g_rand_free(d->rand);
}

static void co_disk_open(Disk *d)
{
    g_autoptr(GError) error = NULL;

    co_control_lock();
    d->node = co_open_json("{'driver': 'qcow2', 'node-name': 'disk', 'file': {'driver': 'file', "
                           "'filename': '%s', 'discard': 'unmap'}%s}", d->path, d->kind->open);
    g_assert_cmpint(d->node->size, ==, d->size);
    co_test_user_init(&d->user, d->node, BLOCK_PERM_ALL, BLOCK_PERM_ALL, &error);
    g_assert_no_error(error);
    control_unlock();
}

static void co_disk_close(Disk *d)
{
    co_control_lock();
    co_block_user_free(d->user.user);
    co_block_node_unref(d->node);
    control_unlock();
}

/* Is the closed image clean, and is it the model? */
static void check_closed(Disk *d)
{
    g_autofree char *raw = in_folder(d, "model.raw");

    run("qemu-img check -q %s", d->path);
    g_assert_true(g_file_set_contents(raw, (char *)d->model, d->size, NULL));
    run("qemu-img compare -q -f raw -F qcow2 %s %s", raw, d->path);
}

/* --- requests ----------------------------------------------------------------------------- */

typedef struct Request {
    Disk *d;
    unsigned kind;
    int64_t offset, bytes;
    uint8_t *buf;
} Request;

static void co_request(Request *r)
{
    BlockChild *child = r->d->user.child;
    uint8_t *model = r->d->model + r->offset;
    int ret;

    if (r->kind < 5) {
        ret = co_block_write_buf(child, r->offset, r->buf, r->bytes, r->kind == 4 ? BLOCK_FUA : 0);
        memcpy(model, r->buf, r->bytes);
    } else if (r->kind < 7) {
        ret = co_block_write_zeroes(child, r->offset, r->bytes,
                                    r->kind == 6 ? BLOCK_MAY_UNMAP : 0);
        memset(model, 0, r->bytes);
    } else if (r->kind < 8) {
        ret = co_block_discard(child, r->offset, r->bytes);
    } else if (r->kind < 9) {
        ret = co_block_read_buf(child, r->offset, r->buf, r->bytes);
        g_assert_cmpmem(r->buf, r->bytes, model, r->bytes);
    } else {
        ret = co_block_flush(child);
    }
    g_assert_cmpint(ret, ==, 0);
    if (r->kind == 7) {
        ret = co_block_read_buf(child, r->offset, r->buf, r->bytes);
        g_assert_cmpint(ret, ==, 0);
        for (int64_t i = 0; i < r->bytes; i++) {
            g_assert_true(r->buf[i] == 0 || r->buf[i] == model[i]);
        }
        memcpy(model, r->buf, r->bytes);
    }
}

static void co_request_main(void *opaque)
{
    Request *r = opaque;
    Disk *d = r->d;

    co_request(r);
    g_free(r->buf);
    g_free(r);
    if (--d->running == 0) {
        co_wake(d->parent);
    }
}

static void make_request(Disk *d, int64_t start, int64_t end)
{
    Request *r = g_new0(Request, 1);
    int64_t max = g_rand_int_range(d->rand, 0, 4) ? 20 * KIB : 600 * KIB;

    r->d = d;
    r->kind = g_rand_int_range(d->rand, 0, 10);
    r->offset = start + g_rand_int_range(d->rand, 0, end - start);
    r->bytes = 1 + g_rand_int_range(d->rand, 0, max);
    r->bytes = MIN(end - r->offset, r->bytes);
    if (g_rand_boolean(d->rand)) {
        r->offset &= ~INT64_C(511);
        r->offset = MAX(r->offset, start);
        r->bytes = MIN((r->bytes + 511) & ~INT64_C(511), end - r->offset);
    }
    r->buf = g_malloc(r->bytes);
    fill_random(d, r->buf, r->bytes);
    d->running++;
    co_start(co_request_main, r);
}

/* Requests that do not overlap but share clusters, all at the same time. */
static void co_round(Disk *d)
{
    int64_t size = d->size, span = g_rand_int_range(d->rand, 1, 6) * 50 * KIB;
    int64_t start = g_rand_int_range(d->rand, 0, size), end, piece;

    end = MIN(size, start + span);
    start = MAX(end - span, 0);
    piece = (end - start) / PARALLEL;
    d->running = 1;
    d->parent = co_self();
    for (int i = 0; i < PARALLEL; i++) {
        make_request(d, start + i * piece, start + (i + 1) * piece);
    }
    if (--d->running > 0) {
        co_yield();
    }
}

static void co_read_all(Disk *d)
{
    g_autofree uint8_t *buf = g_malloc(d->size);

    g_assert_cmpint(co_block_read_buf(d->user.child, 0, buf, d->size), ==, 0);
    g_assert_cmpmem(buf, d->size, d->model, d->size);
}

/* Larger or smaller, with all ways of getting the room. */
static void co_resize(Disk *d)
{
    g_autoptr(GError) error = NULL;
    int64_t units = d->kind->size / 512;
    int64_t size = g_rand_int_range(d->rand, units / 2, units + 2000) * INT64_C(512);
    PreallocMode mode = size > d->size ? g_rand_int_range(d->rand, 0, 4) : PREALLOC_MODE_OFF;

    if (d->kind->internal_snapshot && strstr(d->kind->options, "compat=0.10")) {
        return;
    }
    co_block_truncate(d->user.child, size, true, mode, &error);
    g_assert_no_error(error);
    d->model = g_realloc(d->model, size);
    if (size > d->size) {
        memset(d->model + d->size, 0, size - d->size);
    }
    d->size = size;
}

static void co_run_kind(Disk *d)
{
    for (int opening = 0; opening < 3; opening++) {
        co_disk_open(d);
        co_read_all(d);
        for (int i = 0; i < 40; i++) {
            co_round(d);
            if (i % 10 == 5) {
                co_resize(d);
            }
        }
        co_read_all(d);
        co_disk_close(d);
        check_closed(d);
        if (d->kind->internal_snapshot && opening == 0) {
            run("qemu-img snapshot -c one %s", d->path);
        }
    }
    if (d->kind->internal_snapshot) {
        run("qemu-img snapshot -d one %s", d->path);
        check_closed(d);
    }
}

static void co_test_kind(void *opaque)
{
    Disk d;

    disk_init(&d, opaque);
    co_run_kind(&d);
    disk_clear(&d);
}

/* The control lock is held by whoever opens and closes. */
static void co_unlocked(void *opaque)
{
    co_test_kind(opaque);
    loop_stop(control_loop());
}

static void test_kind(gconstpointer opaque)
{
    GError *error = NULL;
    Loop *loop = loop_new("test", &error);

    g_assert_no_error(error);
    control_init(loop);
    co_start_on(loop, co_unlocked, (void *)opaque);
    loop_run(loop);
    loop_free(loop);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    block_drivers_register();
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *name = g_strdup_printf("/qcow2/random/%s", kinds[i].name);

        g_test_add_data_func(name, &kinds[i], test_kind);
    }
    return g_test_run();
}
