/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Scenarios that a review found: each was a defect once. */
#include "block/filters/copy-before-write.h"
#include "block/jobs/backup.h"
#include "block/node-bitmaps.h"
#include "qmp-schema/event-sink.h"
#include "tests/unit/mem-disk.h"

#define SIZE (4 << 20)

/* --- a disk whose size is no multiple of the alignment of what is above it ------------------- */

static void co_odd_tail(void *opaque)
{
    g_autofree char *path = make_image(1536);
    g_autofree char *buf = g_malloc(4096);
    BlockStatus status;
    TestUser user;
    BlockNode *node;

    co_control_lock();
    node = co_open_json("{'driver': 'blkdebug', 'node-name': 'top', 'read-only': true, 'image': {"
                        "'driver': 'blkdebug', 'align': 4096, 'image': {"
                        "'driver': 'file', 'filename': '%s'}}}", path);
    g_assert_true(co_test_user_init(&user, node, BLOCK_PERM_CONSISTENT_READ, BLOCK_PERM_ALL, NULL));
    g_assert_cmpint(node->size, ==, 1536);
    memset(buf, 1, 4096);
    g_assert_cmpint(co_block_status(user.child, true, 0, 1536, &status), ==, 0);
    g_assert_cmpint(co_block_read_buf(user.child, 0, buf, 1536), ==, 0);
    g_assert_true(buffer_is_zero(buf, 1536));
    g_assert_cmpint(co_block_read_buf(user.child, 1024, buf, 512), ==, 0);
    g_assert_cmpint(co_block_read_buf(user.child, 1024, buf, 1024), ==, -EIO);
    co_block_user_free(user.user);
    co_block_node_unref(node);
    control_unlock();
    unlink(path);
}

/* --- where graphs are when nobody uses them any more ----------------------------------------- */

static BlockJob *co_start_backup(BlockdevOnError on_target_error, BackupPerf *perf)
{
    g_autoptr(GError) error = NULL;
    BlockdevBackup args = {
        .job_id = (char *)"j", .device = (char *)"disk", .target = (char *)"copy",
        .sync = MIRROR_SYNC_MODE_FULL, .filter_node_name = (char *)"flt", .x_perf = perf,
        .has_on_target_error = true, .on_target_error = on_target_error,
    };
    BlockDrain *drain = co_block_drain_begin(block_node_find("disk"));
    BlockJob *job = co_backup_prepare(&args, NULL, &error);

    g_assert_no_error(error);
    co_block_drain_end(drain);
    block_job_start(job);
    return job;
}

static void co_wait_gone(const char *id)
{
    for (int i = 0; job_find(id); i++) {
        g_assert_cmpint(i, <, 3000); /* it hangs */
        co_sleep_ns(1000000);
    }
}

static void co_target_goes_home(void *opaque)
{
    g_autoptr(GError) error = NULL;
    Loop *loop = loop_new("io", &error);
    BlockNode *disk, *copy;
    TestUser user;

    g_assert_true(loop_start_thread(loop, &error));
    co_control_lock();
    disk = co_mem_open("disk", SIZE);
    copy = co_mem_open("copy", SIZE);
    g_assert_true(co_test_user_init(&user, disk, BLOCK_PERM_WRITE, BLOCK_PERM_ALL, NULL));
    g_assert_true(co_block_graph_move(disk, loop, &error));
    co_start_backup(BLOCKDEV_ON_ERROR_REPORT, NULL);
    g_assert_true(copy->loop == loop);
    control_unlock();
    co_wait_gone("j");
    co_control_lock();
    g_assert_true(disk->loop == loop);
    g_assert_true(copy->loop == control_loop());
    co_block_user_free(user.user);
    g_assert_true(disk->loop == control_loop());
    co_block_node_unref(copy);
    co_block_node_unref(disk);
    control_unlock();
    loop_free(loop);
}

/* A graph that is pinned to loop 0 stays, and the other one comes. */
static void co_pinned_at_home(void *opaque)
{
    g_autoptr(GError) error = NULL;
    Loop *loop = loop_new("io", &error);
    BlockNode *a, *b;
    TestUser ua, ub;

    g_assert_true(loop_start_thread(loop, &error));
    co_control_lock();
    a = co_mem_open("a", SIZE);
    b = co_mem_open("b", SIZE);
    g_assert_true(co_test_user_init(&ua, a, 0, BLOCK_PERM_ALL, NULL));
    g_assert_true(co_test_user_init(&ub, b, 0, BLOCK_PERM_ALL, NULL));
    g_assert_true(co_block_graph_move(a, loop, &error));
    ub.user->pinned = true;
    g_assert_true(co_block_graph_join(a, b, &error));
    g_assert_true(a->loop == control_loop());
    g_assert_true(co_block_graph_move(a, loop, &error));
    g_assert_true(co_block_graph_join(b, a, &error));
    g_assert_true(a->loop == control_loop());
    co_block_user_free(ua.user);
    co_block_user_free(ub.user);
    co_block_node_unref(a);
    co_block_node_unref(b);
    control_unlock();
    loop_free(loop);
}

/* --- the frozen view of a job whose target fails ---------------------------------------------- */

typedef struct View {
    TestUser user;
    BlockNode *node;
    int ret;
    bool done;
} View;

static void co_read_view(void *opaque)
{
    View *view = opaque;
    g_autofree char *buf = g_malloc(65536);

    test_user_begin(&view->user);
    view->ret = co_block_read_buf(view->user.child, 0, buf, 65536);
    view->done = true;
    test_user_end(&view->user);
}

static void co_view_of_failed_job(void *opaque)
{
    BlockNode *disk, *copy;
    View view = { 0 };
    BlockJob *job;

    co_control_lock();
    disk = co_mem_open("disk", SIZE);
    copy = co_mem_open("copy", SIZE);
    memset(mem_disk(disk)->bytes, 0x55, SIZE);
    mem_disk(copy)->write_errors = 1000;
    job = co_start_backup(BLOCKDEV_ON_ERROR_STOP, NULL);
    view.node = co_open_json("{'driver': 'snapshot-access', 'node-name': 'view', 'file': 'flt'}");
    g_assert_true(co_test_user_init(&view.user, view.node, BLOCK_PERM_CONSISTENT_READ,
                                    BLOCK_PERM_ALL, NULL));
    control_unlock();
    while (job_status(&job->job) != JOB_STATUS_PAUSED) {
        co_sleep_ns(1000000);
    }
    co_start(co_read_view, &view);
    co_sleep_ns(20000000);
    g_assert_true(job_user_cancel(&job->job, true, NULL));
    co_wait_gone("j");
    g_assert_true(view.done);
    g_assert_cmpint(view.ret, ==, 0);
    co_control_lock();
    mem_disk(copy)->write_errors = 0; /* closing it flushes */
    co_block_user_free(view.user.user);
    co_block_node_unref(view.node);
    co_block_node_unref(copy);
    co_block_node_unref(disk);
    control_unlock();
}

/* --- staging of blocks that are larger than its slabs ----------------------------------------- */

static void co_large_blocks(void *opaque)
{
    BackupPerf perf = { .has_min_cluster_size = true, .min_cluster_size = 4 << 20 };
    BlockNode *file, *disk, *copy;

    co_control_lock();
    file = co_mem_open("f", SIZE);
    disk = co_open_json("{'driver': 'blkdebug', 'node-name': 'disk', 'align': 2097152, "
                        "'image': 'f'}");
    copy = co_mem_open("copy", SIZE);
    co_start_backup(BLOCKDEV_ON_ERROR_REPORT, &perf);
    control_unlock();
    co_wait_gone("j");
    co_control_lock();
    co_block_node_unref(copy);
    co_block_node_unref(disk);
    co_block_node_unref(file);
    control_unlock();
}

/* --- */

static void run(gconstpointer fn)
{
    run_in_co(co_test_body, (void *)fn);
}

int main(int argc, char **argv)
{
    const char *given = g_getenv("TIDEMARK_SEED");
    int ret;

    g_test_init(&argc, &argv, NULL);
    test_rand = g_rand_new_with_seed(given ? strtoul(given, NULL, 0) : g_random_int());
    block_drivers_register();
    block_driver_register(&mem_driver);
    g_test_add_data_func("/review/odd-tail", co_odd_tail, run);
    g_test_add_data_func("/review/target-goes-home", co_target_goes_home, run);
    g_test_add_data_func("/review/pinned-at-home", co_pinned_at_home, run);
    g_test_add_data_func("/review/view-of-failed-job", co_view_of_failed_job, run);
    g_test_add_data_func("/review/large-blocks", co_large_blocks, run);
    ret = g_test_run();
    g_rand_free(test_rand);
    return ret;
}
