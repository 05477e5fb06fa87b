/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Push copies of a live disk against a model: a guest writes to a disk in memory while backup jobs
 * push it, are paused, cancelled, and fail; and with little room for saves.
 *
 * TIDEMARK_SEED repeats a run, TIDEMARK_ROUNDS sets its length.
 */
#include "block/copy/copier.h"
#include "tests/unit/push-util.h"

/* Bothers the job until it is gone. */
static void co_live_with_job(BlockNode *source, BlockNode *target, const uint8_t *snapshot,
                             bool cancel)
{
    Job *job;

    while ((job = job_find("j"))) {
        int what = test_range(0, cancel ? 16 : 15);

        co_bother_job(job, what, source, target);
        switch (what) {
        case 5:
            block_job_set_speed((BlockJob *)job, test_bit() ? 0 : 20 << 20, NULL);
            break;
        case 6:
            co_look_through_filter(snapshot, SIZE);
            break;
        case 15:
            job_user_cancel(job, test_bit(), NULL);
            break;
        }
        co_sleep_ns(test_range(0, 300000));
    }
}

static void random_args(BlockdevBackup *args, BackupPerf *perf)
{
    static const BlockdevOnError policies[] = {
        BLOCKDEV_ON_ERROR_REPORT, BLOCKDEV_ON_ERROR_IGNORE, BLOCKDEV_ON_ERROR_STOP,
    };
    bool full = test_range(0, 3) == 0;

    *args = (BlockdevBackup){
        .job_id = (char *)"j", .device = (char *)"disk", .target = (char *)"copy",
        .sync = full ? MIRROR_SYNC_MODE_FULL : MIRROR_SYNC_MODE_BITMAP,
        .bitmap = (char *)"b", .has_bitmap_mode = true,
        .bitmap_mode = test_bit() ? BITMAP_SYNC_MODE_ON_SUCCESS : BITMAP_SYNC_MODE_ALWAYS,
        .has_on_source_error = true, .on_source_error = policies[test_range(0, 3)],
        .has_on_target_error = true, .on_target_error = policies[test_range(0, 3)],
        .x_perf = test_bit() ? perf : NULL, .filter_node_name = (char *)"flt",
        .has_staging_size = true, .staging_size = 2 << 20,
        .has_staging_file_size = test_bit(), .staging_file_size = test_range(0, 4) << 20,
    };
    *perf = (BackupPerf){
        .has_max_workers = true, .max_workers = test_range(1, 5),
        .has_max_chunk = true, .max_chunk = 65536 * test_range(1, 5),
        .has_use_copy_range = test_bit(), .use_copy_range = true,
    };
}

static void co_push_round(PushTest *t)
{
    bool errors = test_bit();
    BlockdevBackup args;
    BackupPerf perf;

    random_args(&args, &perf);
    t->outcome = (Outcome){ 0 };
    t->guest.max_latency_ns = 0;
    mem_disk(t->copy)->slow_ns = test_bit() ? test_range(0, 3000000) : 0;
    mem_disk(t->copy)->host_errors = test_bit() ? 20 : 0;
    if (errors) {
        mem_disk(t->disk)->read_errors = test_bit() ? 10 : 0;
        mem_disk(t->copy)->write_errors = test_bit() ? 50 : 0;
    }
    co_start_backup(&args, t->disk, t->snapshot, NULL, NULL);
    co_live_with_job(t->disk, t->copy, t->snapshot, test_bit());
    mem_disk(t->disk)->read_errors = mem_disk(t->copy)->write_errors = 0;
    g_assert_true(t->outcome.completed || t->outcome.cancelled);
    if (args.has_staging_file_size && args.staging_file_size) { /* it is full, or it is not */
        g_assert_cmpint(t->guest.max_latency_ns, <, INT64_C(8) * 1000000000);
    }
    if (t->outcome.completed && !t->outcome.failed && t->outcome.errors == 0) {
        /* Granules that were clean at the instant are equal by the rounds before. */
        check_all(t);
    }
    if (t->outcome.failed) {
        g_assert_true(t->outcome.errors || (t->outcome.no_room && args.has_staging_file_size));
    }
}

static void co_push(void *opaque)
{
    PushTest t;
    int succeeded = 0;

    co_push_begin(&t, SIZE);
    t.guest.may_fail_to_read = true;
    for (int i = 0; i < rounds(40); i++) {
        co_push_round(&t);
        co_check_bits(&t);
        succeeded += t.outcome.completed && !t.outcome.failed;
    }
    g_test_message("%d of %d backups succeeded, the host copied %" PRId64 " bytes", succeeded,
                   rounds(40), mem_disk(t.copy)->hosted);
    co_push_end(&t);
}

/* I3, bitmap-mode=always: what the copier still held when it failed is not taken for copied. */
static void co_always_failed(void *opaque)
{
    BlockdevBackup args = {
        .job_id = (char *)"j", .device = (char *)"disk", .target = (char *)"copy",
        .sync = MIRROR_SYNC_MODE_FULL, .bitmap = (char *)"b", .has_bitmap_mode = true,
        .bitmap_mode = BITMAP_SYNC_MODE_ALWAYS,
    };
    PushTest t = { .snapshot = g_malloc(SIZE) };
    int64_t copied = 0;

    co_control_lock();
    t.disk = co_mem_open("disk", SIZE);
    t.copy = co_mem_open("copy", SIZE);
    memset(mem_disk(t.disk)->bytes, 0x55, SIZE);
    t.bitmap = block_node_bitmap_add(t.disk, "b", GRANULE, NULL);
    qmp_event_set_sink(note_event, &t.outcome);
    control_unlock();
    mem_disk(t.copy)->write_errors = 400;
    while (!copied || !t.outcome.failed) { /* until it failed when some was there, and flushed */
        t.outcome = (Outcome){ 0 };
        memset(mem_disk(t.copy)->bytes, 0, SIZE);
        dirty_bitmap_set(t.bitmap, 0, SIZE);
        co_start_backup(&args, t.disk, t.snapshot, NULL, NULL);
        while (job_find("j")) {
            co_sleep_ns(100000);
        }
        g_assert_true(t.outcome.completed);
        g_assert_cmpint(t.outcome.failed, ==, t.outcome.errors > 0);
        if (!t.outcome.failed) { /* all requests were lucky */
            check_all(&t);
            g_assert_cmpint(dirty_bitmap_count(t.bitmap), ==, 0);
        }
        check_clean_granules(&t);
        copied = align_up(SIZE, GRANULE) - dirty_bitmap_count(t.bitmap);
    }
    mem_disk(t.copy)->write_errors = 0;
    co_control_lock();
    co_block_node_unref(t.disk);
    co_block_node_unref(t.copy);
    control_unlock();
    qmp_event_set_sink(NULL, NULL);
    g_free(t.snapshot);
}

/* --- little room --- */

#define ROOM_SIZE (12 << 20)

static void ignore(void *opaque)
{
}

/*
 * A target so slow that saves fill their memory: the guest waits, nothing locks up, no byte is
 * wrong.
 */
static void co_little_room(void *opaque)
{
    g_autofree uint8_t *snapshot = NULL;
    RateLimit limit = { 0 };
    Progress progress = { 0 };
    CbwJobOptions options = { .staging_bytes = 2 << 20 };
    BlockNode *disk, *copy, *cbw;
    MemGuest guest;
    Copier *copier;
    bool waited = false;

    co_control_lock();
    disk = co_mem_open("disk", ROOM_SIZE);
    copy = co_mem_open("copy", ROOM_SIZE);
    memset(mem_disk(disk)->bytes, 0x55, ROOM_SIZE);
    snapshot = g_memdup2(mem_disk(disk)->bytes, ROOM_SIZE);
    cbw = co_cbw_open_for_job(disk, copy, &options, NULL);
    copier = copier_new(&(CopierOptions){
        .copy = cbw_node_copy(cbw), .max_workers = 2, .max_chunk = 65536, .limit = &limit,
        .progress = &progress, .notify = ignore,
    });
    mem_disk(copy)->slow_ns = 100000000;
    co_guest_start(&guest, cbw, disk);
    while (!copier_done(copier)) {
        copier_pump(copier);
        co_sleep_ns(200000);
        waited |= staging_wanted(cbw_node_copy(cbw)->staging);
        if (waited) {
            mem_disk(copy)->slow_ns = 100000;
        }
    }
    g_assert_true(waited);
    g_assert_false(block_copy_stopped(cbw_node_copy(cbw)));
    co_guest_stop(&guest);
    g_assert_cmpint(guest.max_latency_ns, <, INT64_C(12) * 1000000000); /* room wakes who waits */
    g_assert_cmpint(memcmp(snapshot, mem_disk(copy)->bytes, ROOM_SIZE), ==, 0);
    copier_free(copier);
    co_block_node_unref(cbw);
    co_block_node_unref(copy);
    co_block_node_unref(disk);
    control_unlock();
}

/* --- */

static void test_push(void)
{
    run(co_push, NULL);
}

static void test_always_failed(void)
{
    run(co_always_failed, NULL);
}

static void test_little_room(void)
{
    run(co_little_room, NULL);
}

static void add_tests(void)
{
    g_test_add_func("/block-copy/push", test_push);
    g_test_add_func("/block-copy/always-failed", test_always_failed);
    g_test_add_func("/block-copy/little-room", test_little_room);
}

int main(int argc, char **argv)
{
    return copy_test_main(argc, argv, add_tests);
}
