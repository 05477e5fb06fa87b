/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The qcow2 driver on a file that behaves as it may, but seldom does: its discards leave rubbish,
 * and a write of the header takes long.  And on a table cache without room.
 */
#include <glib/gstdio.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "block/drivers/qcow2/qcow2.h"
#include "tests/unit/block-util.h"

#define KIB INT64_C(1024)
#define SIZE (1024 * KIB)
#define RUBBISH 0xdd

/* --- the file ----------------------------------------------------------------------------- */

typedef struct OddFile {
    uint8_t *bytes;
    int64_t header_ns; /* how long the next write at 0 takes, before it changes anything */
    bool in_header;
} OddFile;

static OddFile *odd_file(const BlockNode *node)
{
    return node->state;
}

static bool odd_open(BlockNode *node, const BlockdevOptions *options, GError **errp)
{
    node->size = options->u.null_co.size;
    odd_file(node)->bytes = g_malloc0(node->size);
    return true;
}

static void odd_close(BlockNode *node)
{
    g_free(odd_file(node)->bytes);
}

static int odd_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    io_slice_write(data, odd_file(node)->bytes + offset, data->len);
    return 0;
}

static int co_odd_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    OddFile *file = odd_file(node);
    int64_t ns = file->header_ns;

    if (offset == 0 && ns) {
        file->header_ns = 0;
        file->in_header = true;
        co_sleep_ns(ns);
    }
    io_slice_read(data, file->bytes + offset);
    return 0;
}

static int odd_zero(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    memset(odd_file(node)->bytes + offset, 0, bytes);
    return 0;
}

static int odd_discard(BlockNode *node, int64_t offset, int64_t bytes)
{
    memset(odd_file(node)->bytes + offset, RUBBISH, bytes);
    return 0;
}

static int odd_flush(BlockNode *node)
{
    return 0;
}

static int64_t odd_get_size(BlockNode *node)
{
    return node->size;
}

static const BlockDriver odd_driver = {
    .id = BLOCKDEV_DRIVER_NULL_CO,
    .state_size = sizeof(OddFile),
    .is_protocol = true,
    .co_open = odd_open,
    .co_close = odd_close,
    .co_read = odd_read,
    .co_write = co_odd_write,
    .co_write_zeroes = odd_zero,
    .co_discard = odd_discard,
    .co_flush = odd_flush,
    .co_get_size = odd_get_size,
    .supports_write_zeroes_flags = BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK,
};

static BlockNode *co_odd_open(const char *name)
{
    return co_open_json("{'driver': 'null-co', 'node-name': '%s', 'size': %" G_GINT64_FORMAT
                        ", 'discard': 'unmap'}", name, SIZE);
}

/* --- images ------------------------------------------------------------------------------- */

static bool have_tools(void)
{
    g_autofree char *img = g_find_program_in_path("qemu-img");

    if (!img) {
        g_test_skip("qemu-img is needed");
    }
    return img != NULL;
}

/* An empty image in a file of its own; the caller unlinks and frees. */
static char *make_qcow2(const char *options, int64_t size)
{
    char *path = make_image(0);
    g_autofree char *command = g_strdup_printf("qemu-img create -q -f qcow2 -o %s %s %" PRId64,
                                               options, path, size);
    int status = -1;

    g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, &status, NULL));
    g_assert_cmpint(status, ==, 0);
    return path;
}

static void co_use(TestUser *user, BlockNode *node)
{
    g_assert_true(co_test_user_init(user, node, BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE,
                                    BLOCK_PERM_ALL, NULL));
}

/* --- discards that leave rubbish ---------------------------------------------------------- */

static void assert_zero(const BlockNode *data, int64_t offset, int64_t bytes)
{
    g_assert_true(buffer_is_zero(odd_file(data)->bytes + offset, bytes));
}

/* A raw data file is the disk, whatever its discards do. */
static void co_raw_data_file(void *opaque)
{
    g_autofree char *data_path = make_image(SIZE);
    g_autofree char *options = g_strdup_printf("data_file=%s,data_file_raw=on", data_path);
    g_autofree char *path = make_qcow2(options, SIZE), *buf = g_malloc(SIZE);
    BlockNode *data, *node;
    TestUser user;

    co_control_lock();
    data = co_odd_open("data");
    node = co_open_json("{'driver': 'qcow2', 'node-name': 'disk', 'discard': 'unmap', "
                        "'data-file': 'data', 'file': {'driver': 'file', 'filename': '%s'}}", path);
    co_use(&user, node);
    memset(buf, 1, SIZE);
    g_assert_cmpint(co_block_write_buf(user.child, 0, buf, SIZE, 0), ==, 0);
    g_assert_cmpint(co_block_write_zeroes(user.child, 64 * KIB, 128 * KIB, BLOCK_MAY_UNMAP), ==, 0);
    assert_zero(data, 64 * KIB, 128 * KIB);
    g_assert_cmpint(co_block_discard(user.child, 256 * KIB, 128 * KIB), ==, 0);
    assert_zero(data, 256 * KIB, 128 * KIB);
    g_assert_cmpint(co_block_read_buf(user.child, 0, buf, SIZE), ==, 0);
    g_assert_cmpint(memcmp(buf, odd_file(data)->bytes, SIZE), ==, 0);
    co_block_user_free(user.user);
    co_block_node_unref(node);
    co_block_node_unref(data);
    control_unlock();
    g_unlink(path);
    g_unlink(data_path);
}

/* --- two writes of the header ------------------------------------------------------------- */

/* An image in the odd file; the second entry of its L1 table (from 2 MiB on) is damaged. */
static BlockNode *co_open_damaged(BlockNode *file)
{
    g_autofree char *path = make_qcow2("cluster_size=4k,lazy_refcounts=on", 4096 * KIB);
    g_autofree char *bytes = NULL;
    uint8_t *disk = odd_file(file)->bytes;
    uint64_t l1;
    gsize len;

    g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
    g_assert_cmpint(len, <=, SIZE);
    memcpy(disk, bytes, len);
    memcpy(&l1, disk + 40, sizeof(l1));
    disk[GUINT64_FROM_BE(l1) + 8 + 5] = 8; /* a table at 512 KiB + 512 */
    disk[GUINT64_FROM_BE(l1) + 8 + 6] = 2;
    g_unlink(path);
    return co_open_json("{'driver': 'qcow2', 'node-name': 'disk', 'file': 'file'}");
}

typedef struct FirstWrite {
    BlockChild *child;
    int ret;
    bool done;
} FirstWrite;

static void co_first_write(void *opaque)
{
    FirstWrite *first = opaque;
    char sector[512] = { 1 };

    first->ret = co_block_write_buf(first->child, 0, sector, sizeof(sector), 0);
    first->done = true;
}

/* Damage is found while the dirty bit is on its way to the file: both bits get there. */
static void co_two_headers(void *opaque)
{
    BlockNode *file, *node;
    FirstWrite first = { 0 };
    char sector[512];
    TestUser user;

    co_control_lock();
    file = co_odd_open("file");
    node = co_open_damaged(file);
    co_use(&user, node);
    first.child = user.child;
    odd_file(file)->header_ns = 20 * 1000 * 1000;
    co_start(co_first_write, &first);
    while (!odd_file(file)->in_header) {
        co_pass();
    }
    g_assert_false(first.done);
    g_assert_cmpint(co_block_read_buf(user.child, 2048 * KIB, sector, sizeof(sector)), ==, -EIO);
    while (!first.done) {
        co_sleep_ns(1000 * 1000);
    }
    g_assert_cmphex(odd_file(file)->bytes[79], ==, QCOW2_DIRTY | QCOW2_CORRUPT);
    co_block_user_free(user.user);
    co_block_node_unref(node);
    g_assert_cmphex(odd_file(file)->bytes[79] & QCOW2_CORRUPT, ==, QCOW2_CORRUPT);
    co_block_node_unref(file);
    control_unlock();
}

/* --- a cache without room ----------------------------------------------------------------- */

typedef struct Lookup {
    Qcow2Cache *cache;
    CoMutex *lock; /* NULL: without */
    Qcow2Table *table;
    int ret;
    bool done;
} Lookup;

static void co_lookup(void *opaque)
{
    Lookup *lookup = opaque;

    if (lookup->lock) {
        co_mutex_lock(lookup->lock);
    }
    lookup->ret = co_qcow2_cache_get(lookup->cache, 3072, &lookup->table);
    if (lookup->lock) {
        co_mutex_unlock(lookup->lock);
    }
    lookup->done = true;
}

/* A third table while the two entries are pinned: what comes of it when there is room again. */
static int co_wait_for_room(Qcow2Cache *cache, CoMutex *lock)
{
    Lookup lookup = { .cache = cache, .lock = lock };
    Qcow2Table *first, *second;

    g_assert_cmpint(co_qcow2_cache_get(cache, 1024, &first), ==, 0);
    g_assert_cmpint(co_qcow2_cache_get(cache, 2048, &second), ==, 0);
    co_start(co_lookup, &lookup);
    co_sleep_ns(1000 * 1000);
    g_assert_false(lookup.done);
    qcow2_cache_put(cache, first);
    while (!lookup.done) {
        co_sleep_ns(1000 * 1000);
    }
    if (lookup.ret == 0) {
        qcow2_cache_put(cache, lookup.table);
    }
    qcow2_cache_put(cache, second);
    return lookup.ret;
}

/* Without the lock the table may be elsewhere after a wait: the caller has to look. */
static void co_no_room(void *opaque)
{
    g_autofree char *path = make_qcow2("cluster_size=4k", 4096 * KIB);
    BlockNode *node;
    Qcow2Cache *cache;
    TestUser user;

    co_control_lock();
    node = co_open_json("{'driver': 'qcow2', 'node-name': 'disk', "
                        "'file': {'driver': 'file', 'filename': '%s'}}", path);
    co_use(&user, node);
    cache = qcow2_cache_new(node, QCOW2_AREA_ACTIVE_L2, 2, 1024);
    g_assert_cmpint(co_wait_for_room(cache, NULL), ==, -EAGAIN);
    g_assert_cmpint(co_wait_for_room(cache, &qcow2_state(node)->lock), ==, 0);
    qcow2_cache_free(cache);
    co_block_user_free(user.user);
    co_block_node_unref(node);
    control_unlock();
    g_unlink(path);
}

static void run(gconstpointer fn)
{
    if (have_tools()) {
        run_in_co(co_test_body, (void *)fn);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK); /* damaged images are warned of */
    block_drivers_register();
    block_driver_register(&odd_driver);
    g_test_add_data_func("/qcow2-odd-file/raw-data-file", co_raw_data_file, run);
    g_test_add_data_func("/qcow2-odd-file/two-headers", co_two_headers, run);
    g_test_add_data_func("/qcow2-odd-file/no-room", co_no_room, run);
    return g_test_run();
}
