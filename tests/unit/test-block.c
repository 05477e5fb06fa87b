/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The gate, permissions, drain, filters and moves between loops, against real files. */
#include <stdlib.h>
#include <string.h>

#include "block/hook.h"
#include "block/node-bitmaps.h"
#include "tests/unit/block-util.h"

#define SIZE (256 * 1024)

typedef struct Disk {
    char *path;
    BlockNode *node;
    TestUser user;
} Disk;

static void co_disk_open(Disk *disk, unsigned align)
{
    disk->path = make_image(SIZE);
    disk->node = co_open_json("{'driver': 'blkdebug', 'node-name': 'disk', 'align': %u, 'discard': "
                              "'unmap', 'image': {'driver': 'file', 'filename': '%s'}}",
                              align, disk->path);
    g_assert_true(co_test_user_init(&disk->user, disk->node, BLOCK_PERM_ALL,
                                    BLOCK_PERM_ALL, NULL));
}

static void co_disk_close(Disk *disk)
{
    co_block_user_free(disk->user.user);
    co_block_node_unref(disk->node);
    unlink(disk->path);
    g_free(disk->path);
}

static void run_control(CoFn *fn);

/* --- padding and serialising: writers that share sectors lose nothing ------------------------- */

#define WRITERS 8
#define STRIPE 100 /* bytes; each writer owns every eighth stripe: no sector is one writer's */

typedef struct Writer {
    Disk *disk;
    unsigned index, *left;
    GRand *rand;
    uint8_t *model; /* of the whole disk; each writer touches its own stripes */
    Co *parent;
} Writer;

static void co_check_stripe(Writer *w, int64_t offset, size_t len)
{
    uint8_t buf[STRIPE];

    g_assert_cmpint(co_block_read_buf(w->disk->user.child, offset, buf, len), ==, 0);
    g_assert_cmpmem(buf, len, w->model + offset, len);
}

static void co_change_stripe(Writer *w, int64_t offset, size_t len)
{
    uint8_t buf[STRIPE];

    if (g_rand_int_range(w->rand, 0, 4) == 0) {
        memset(w->model + offset, 0, len);
        g_assert_cmpint(co_block_write_zeroes(w->disk->user.child, offset, len, BLOCK_MAY_UNMAP),
                        ==, 0);
        return;
    }
    memset(buf, g_rand_int_range(w->rand, 0, 256), len);
    memcpy(w->model + offset, buf, len);
    g_assert_cmpint(co_block_write_buf(w->disk->user.child, offset, buf, len,
                                       g_rand_boolean(w->rand) ? BLOCK_FUA : 0), ==, 0);
}

static void co_writer(void *opaque)
{
    Writer *w = opaque;

    for (int i = 0; i < 300; i++) {
        int64_t stripe = g_rand_int_range(w->rand, 0, SIZE / STRIPE / WRITERS) * WRITERS + w->index;
        size_t skip = g_rand_int_range(w->rand, 0, STRIPE);
        size_t len = g_rand_int_range(w->rand, 1, STRIPE - skip + 1);

        co_change_stripe(w, stripe * STRIPE + skip, len);
        co_check_stripe(w, stripe * STRIPE, STRIPE);
    }
    if (--*w->left == 0) {
        co_wake(w->parent);
    }
}

static void co_shared_sectors(void *opaque)
{
    g_autofree uint8_t *model = g_malloc0(SIZE), *found = g_malloc0(SIZE);
    Writer writers[WRITERS];
    unsigned left = WRITERS;
    Disk disk;

    co_disk_open(&disk, g_test_rand_bit() ? 4096 : 512);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (Writer){ &disk, i, &left, g_rand_new_with_seed(g_test_rand_int()), model,
                               co_self() };
        co_start(co_writer, &writers[i]);
    }
    co_yield();
    g_assert_cmpint(co_block_read_buf(disk.user.child, 0, found, SIZE), ==, 0);
    g_assert_cmpmem(found, SIZE, model, SIZE);
    for (unsigned i = 0; i < WRITERS; i++) {
        g_rand_free(writers[i].rand);
    }
    co_disk_close(&disk);
}

static void test_shared_sectors(void)
{
    run_control(co_shared_sectors);
}

/* --- ranges and bitmaps ----------------------------------------------------------------------- */

static void co_ranges(void *opaque)
{
    uint8_t buf[1024] = { 0 };
    BlockStatus status;
    Disk disk;

    co_disk_open(&disk, 512);
    g_assert_cmpint(co_block_read_buf(disk.user.child, SIZE - 1023, buf, 1024), ==, -EIO);
    g_assert_cmpint(co_block_write_buf(disk.user.child, -1, buf, 1, 0), ==, -EIO);
    g_assert_cmpint(co_block_write_zeroes(disk.user.child, INT64_MAX, INT64_MAX, 0), ==, -EIO);
    g_assert_cmpint(co_block_discard(disk.user.child, 0, SIZE + 1), ==, -EIO);
    g_assert_cmpint(co_block_read_buf(disk.user.child, SIZE, buf, 0), ==, 0);
    g_assert_cmpint(co_block_status(disk.user.child, true, SIZE, 10, &status), ==, 0);
    g_assert_cmpint(status.bytes, ==, 0);
    g_assert_cmpint(co_block_status(disk.user.child, true, 7, SIZE, &status), ==, 0);
    g_assert_true(status.flags & BLOCK_STATUS_ZERO);
    g_assert_cmpint(status.bytes, ==, SIZE - 7);
    co_disk_close(&disk);
}

static void test_ranges(void)
{
    run_control(co_ranges);
}

static void co_bitmaps(void *opaque)
{
    g_autofree uint8_t *model = g_malloc0(SIZE / 512);
    uint8_t buf[3000] = { 1 };
    DirtyBitmap *bitmap;
    Disk disk;

    co_disk_open(&disk, 1);
    bitmap = block_node_bitmap_add(disk.node, "b", 512, NULL);
    for (int i = 0; i < 200; i++) {
        int64_t offset = g_test_rand_int_range(0, SIZE - sizeof(buf));
        int64_t len = g_test_rand_int_range(1, sizeof(buf));
        unsigned flags = i % 3 == 0 ? BLOCK_WRITE_UNCHANGED : 0;

        g_assert_cmpint(co_block_write_buf(disk.user.child, offset, buf, len, flags), ==, 0);
        for (int64_t g = offset / 512; g <= (offset + len - 1) / 512 && !flags; g++) {
            model[g] = 1;
        }
    }
    for (int64_t g = 0; g < SIZE / 512; g++) {
        g_assert_cmpint(dirty_bitmap_get(bitmap, g * 512), ==, model[g]);
    }
    co_disk_close(&disk);
}

static void test_bitmaps(void)
{
    run_control(co_bitmaps);
}

/* --- hooks ------------------------------------------------------------------------------------ */

typedef struct CountingHook {
    BlockHook hook;
    int before, after, error;
} CountingHook;

static int co_count_before(BlockHook *hook, BlockReq *req)
{
    CountingHook *counting = (CountingHook *)hook;

    counting->before++;
    co_sleep_ns(1000);
    return counting->error;
}

static int co_count_after(BlockHook *hook, BlockReq *req, const IoSlice *data, int ret)
{
    ((CountingHook *)hook)->after++;
    return ret;
}

static void co_hooks(void *opaque)
{
    CountingHook counting = { .hook = { co_count_before, co_count_after } };
    uint8_t buf[512] = { 7 };
    Disk disk;

    co_disk_open(&disk, 1);
    block_hook_add(disk.node, &counting.hook);
    g_assert_cmpint(co_block_write_buf(disk.user.child, 0, buf, 512, 0), ==, 0);
    g_assert_cmpint(co_block_read_buf(disk.user.child, 0, buf, 512), ==, 0);
    counting.error = -ENOSPC;
    g_assert_cmpint(co_block_write_buf(disk.user.child, 0, buf, 512, 0), ==, -ENOSPC);
    block_hook_remove(disk.node, &counting.hook);
    g_assert_cmpint(co_block_write_buf(disk.user.child, 0, buf, 512, 0), ==, 0);
    g_assert_cmpint(counting.before, ==, 3);
    g_assert_cmpint(counting.after, ==, 3);
    co_disk_close(&disk);
}

static void test_hooks(void)
{
    run_control(co_hooks);
}

/* --- permissions ------------------------------------------------------------------------------ */

static void co_permissions(void *opaque)
{
    unsigned no_write = BLOCK_PERM_ALL & ~BLOCK_PERM_WRITE;
    g_autoptr(GError) error = NULL;
    uint8_t buf[512] = { 0 };
    TestUser reader, writer;
    Disk disk;

    co_disk_open(&disk, 1);
    g_assert_true(block_child_set_perm(disk.user.child, 0, BLOCK_PERM_ALL, NULL));
    g_assert_cmpint(co_block_write_buf(disk.user.child, 0, buf, 512, 0), ==, -EPERM);
    g_assert_true(co_test_user_init(&reader, disk.node, BLOCK_PERM_CONSISTENT_READ, no_write,
                                    NULL));
    g_assert_false(co_test_user_init(&writer, disk.node, BLOCK_PERM_WRITE, BLOCK_PERM_ALL, &error));
    g_assert_cmpstr(error->message, ==,
                    "Permission conflict on node 'disk': permissions 'write' are both required by "
                    "a test (uses node 'disk' as 'root' child) and unshared by a test (uses node "
                    "'disk' as 'root' child).");
    co_block_user_free(reader.user);
    g_assert_true(co_test_user_init(&writer, disk.node, BLOCK_PERM_WRITE, no_write, NULL));
    g_assert_cmpint(co_block_write_buf(writer.child, 0, buf, 512, 0), ==, 0);
    co_block_user_free(writer.user);
    co_disk_close(&disk);
}

static void test_permissions(void)
{
    run_control(co_permissions);
}

/* --- moves between loops under I/O ------------------------------------------------------------ */

#define MOVES 1000
#define MOVERS 4
#define LOOPS 3

typedef struct Traffic {
    Disk disk;
    uint8_t values[MOVERS]; /* what is at the mover's sector */
    unsigned started;
    uint64_t requests;
    bool stop;
} Traffic;

static void co_mover(void *opaque)
{
    Traffic *traffic = opaque;
    unsigned index = traffic->started++ % MOVERS;
    TestUser *user = &traffic->disk.user;
    uint8_t buf[512], back[512];

    while (!user->quiesced && !traffic->stop) {
        test_user_begin(user);
        memset(buf, ++traffic->values[index], sizeof(buf));
        g_assert_cmpint(co_block_write_buf(user->child, index * 512, buf, 512, 0), ==, 0);
        g_assert_cmpint(co_block_read_buf(user->child, index * 512, back, 512), ==, 0);
        g_assert_cmpmem(buf, 512, back, 512);
        g_assert_true(loop_current() == traffic->disk.node->loop);
        traffic->requests++;
        test_user_end(user);
    }
}

static void start_movers(void *opaque)
{
    Traffic *traffic = opaque;

    traffic->started = 0;
    for (int i = 0; i < MOVERS; i++) {
        co_start(co_mover, traffic);
    }
}

static void co_moves(void *opaque)
{
    g_autoptr(GError) error = NULL;
    Loop *loops[LOOPS] = { control_loop() };
    Traffic traffic = { 0 };

    for (int i = 1; i < LOOPS; i++) {
        loops[i] = loop_new("io", &error);
        g_assert_true(loop_start_thread(loops[i], &error));
    }
    co_disk_open(&traffic.disk, 512);
    traffic.disk.user.resume = start_movers;
    traffic.disk.user.opaque = &traffic;
    start_movers(&traffic);
    for (int i = 0; i < MOVES; i++) {
        Loop *to = loops[g_test_rand_int_range(0, LOOPS)];

        g_assert_true(co_block_graph_move(traffic.disk.node, to, &error));
        g_assert_true(traffic.disk.node->loop == to);
    }
    g_assert_true(co_block_graph_move(traffic.disk.node, control_loop(), &error));
    traffic.stop = true;
    co_disk_close(&traffic.disk);
    g_assert_cmpint(traffic.requests, >=, MOVES / LOOPS);
    for (int i = 1; i < LOOPS; i++) {
        loop_free(loops[i]);
    }
}

static void test_moves(void)
{
    run_control(co_moves);
}

/* --- filters on a live graph ------------------------------------------------------------------ */

static void co_filters(void *opaque)
{
    g_autoptr(GError) error = NULL;
    Traffic traffic = { 0 };

    co_disk_open(&traffic.disk, 1);
    traffic.disk.user.resume = start_movers;
    traffic.disk.user.opaque = &traffic;
    start_movers(&traffic);
    for (int i = 0; i < 50; i++) {
        BlockNode *filter = co_open_json("{'driver': 'raw', 'file': 'disk'}");
        BlockDrain *drain = co_block_drain_begin(traffic.disk.node);

        g_assert_true(block_graph_insert_filter(filter, traffic.disk.node, NULL, NULL, &error));
        g_assert_true(traffic.disk.user.child->node == filter);
        co_block_drain_end(drain);
        drain = co_block_drain_begin(filter);
        g_assert_true(block_graph_remove_filter(filter, &error));
        co_block_node_unref(filter);
        co_block_drain_end(drain);
    }
    traffic.stop = true;
    co_disk_close(&traffic.disk);
}

static void test_filters(void)
{
    run_control(co_filters);
}

typedef struct ControlRun {
    CoFn *fn;
} ControlRun;

static void co_with_lock(void *opaque)
{
    control_init(loop_current());
    co_control_lock();
    ((ControlRun *)opaque)->fn(NULL);
    g_assert_cmpint(block_nodes()->len, ==, 0);
    control_unlock();
}

static void run_control(CoFn *fn)
{
    ControlRun run = { fn };

    run_in_co(co_with_lock, &run);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    block_drivers_register();
    g_test_add_func("/block/shared-sectors", test_shared_sectors);
    g_test_add_func("/block/ranges", test_ranges);
    g_test_add_func("/block/bitmaps", test_bitmaps);
    g_test_add_func("/block/hooks", test_hooks);
    g_test_add_func("/block/permissions", test_permissions);
    g_test_add_func("/block/moves", test_moves);
    g_test_add_func("/block/filters", test_filters);
    return g_test_run();
}
