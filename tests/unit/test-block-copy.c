/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copies of a live disk against a model: a guest writes to a disk in memory while backup jobs push
 * it, are paused, cancelled, and fail; while a reader pulls its frozen view; and with little room
 * for saves.
 *
 * TIDEMARK_SEED repeats a run, TIDEMARK_ROUNDS sets its length.
 */
#include <errno.h>
#include <fcntl.h>

#include "block/copy/copier.h"
#include "block/copy/copy-int.h"
#include "block/filters/copy-before-write.h"
#include "block/jobs/backup.h"
#include "block/node-bitmaps.h"
#include "qmp-schema/event-sink.h"
#include "tests/unit/mem-disk.h"

#define SIZE ((3 << 20) + 12800)
#define GRANULE 65536

static int rounds(void)
{
    const char *given = g_getenv("TIDEMARK_ROUNDS");

    return given ? atoi(given) : 40;
}

/* What the last job came to. */
typedef struct Outcome {
    bool completed, cancelled, failed;
    unsigned errors;
} Outcome;

static void note_event(const char *name, json_t *data, void *opaque)
{
    Outcome *outcome = opaque;

    if (strcmp(name, "BLOCK_JOB_COMPLETED") == 0) {
        outcome->completed = true;
        outcome->failed = json_object_get(data, "error") != NULL;
    }
    outcome->cancelled |= strcmp(name, "BLOCK_JOB_CANCELLED") == 0;
    outcome->errors += strcmp(name, "BLOCK_JOB_ERROR") == 0;
    json_decref(data);
}

/* As the command does it, with a look at the disk at the instant. */
static void co_start_backup(const BlockdevBackup *args, BlockNode *source, uint8_t *snapshot)
{
    g_autoptr(GError) error = NULL;
    BlockDrain *drain;
    BlockJob *job;

    co_control_lock();
    drain = co_block_drain_begin(source);
    job = co_backup_prepare(args, NULL, &error);
    g_assert_no_error(error);
    memcpy(snapshot, mem_disk(source)->bytes, source->size);
    co_block_drain_end(drain);
    block_job_start(job);
    control_unlock();
}

static void co_drain_once(BlockNode *node)
{
    BlockDrain *drain;

    co_control_lock();
    drain = co_block_drain_begin(node);
    g_assert_cmpint(node->in_flight, ==, 0);
    co_pass();
    co_block_drain_end(drain);
    control_unlock();
}

/* The job's filter shows the frozen view too, wherever the old bytes are now. */
static void co_look_through_filter(const uint8_t *snapshot)
{
    g_autofree uint8_t *buf = g_malloc(100000);
    TestUser reader;
    BlockNode *view;

    co_control_lock();
    if (!block_node_find("flt")) {
        control_unlock();
        return;
    }
    view = co_open_json("{'driver': 'snapshot-access', 'node-name': 'view', 'file': 'flt'}");
    g_assert_true(co_test_user_init(&reader, view, BLOCK_PERM_CONSISTENT_READ, BLOCK_PERM_ALL,
                                    NULL));
    control_unlock();
    for (int i = 0; i < 20 && !reader.quiesced; i++) {
        int64_t offset = test_range(0, SIZE - 100000);
        int ret;

        test_user_begin(&reader);
        ret = co_block_read_buf(reader.child, offset, buf, 100000);
        test_user_end(&reader);
        if (ret == 0) {
            g_assert_cmpint(memcmp(buf, snapshot + offset, 100000), ==, 0);
        }
    }
    co_control_lock();
    co_block_user_free(reader.user);
    co_block_node_unref(view);
    control_unlock();
}

/* Bothers the job until it is gone. */
static void co_live_with_job(BlockNode *source, BlockNode *target, const uint8_t *snapshot,
                             bool cancel)
{
    Job *job;

    while ((job = job_find("j"))) {
        switch (test_range(0, cancel ? 16 : 15)) {
        case 0:
            job_user_pause(job, NULL);
            break;
        case 1:
        case 2:
        case 3:
            job_user_resume(job, NULL);
            break;
        case 4:
            co_drain_once(test_bit() ? source : target);
            break;
        case 5:
            block_job_set_speed((BlockJob *)job, test_bit() ? 0 : 20 << 20, NULL);
            break;
        case 6:
            co_look_through_filter(snapshot);
            break;
        case 15:
            job_user_cancel(job, test_bit(), NULL);
            break;
        }
        co_sleep_ns(test_range(0, 300000));
    }
}

/* I3: where the bitmap is clean the target has what the disk has. */
static void check_clean_granules(const DirtyBitmap *bitmap, const uint8_t *disk,
                                 const uint8_t *target)
{
    for (int64_t at = 0; at < SIZE; at += GRANULE) {
        int64_t n = MIN(GRANULE, SIZE - at);

        if (!dirty_bitmap_get(bitmap, at)) {
            g_assert_cmpint(memcmp(disk + at, target + at, n), ==, 0);
        }
    }
}

static void check_all(const uint8_t *snapshot, const uint8_t *target)
{
    for (int64_t at = 0; at < SIZE; at++) {
        if (snapshot[at] != target[at]) {
            g_error("byte %" G_GINT64_FORMAT " differs", at);
        }
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
    };
}

typedef struct PushTest {
    BlockNode *disk, *copy;
    DirtyBitmap *bitmap;
    MemGuest guest;
    Outcome outcome;
    uint8_t *snapshot;
} PushTest;

static void co_push_round(PushTest *t)
{
    bool errors = test_bit();
    BlockdevBackup args;
    BackupPerf perf;

    random_args(&args, &perf);
    t->outcome = (Outcome){ 0 };
    mem_disk(t->copy)->slow_ns = test_bit() ? test_range(0, 3000000) : 0;
    if (errors) {
        mem_disk(t->disk)->read_errors = test_bit() ? 10 : 0;
        mem_disk(t->copy)->write_errors = test_bit() ? 50 : 0;
    }
    co_start_backup(&args, t->disk, t->snapshot);
    co_live_with_job(t->disk, t->copy, t->snapshot, test_bit());
    mem_disk(t->disk)->read_errors = mem_disk(t->copy)->write_errors = 0;
    g_assert_true(t->outcome.completed || t->outcome.cancelled);
    if (t->outcome.completed && !t->outcome.failed && t->outcome.errors == 0) {
        /* Granules that were clean at the instant are equal by the rounds before. */
        check_all(t->snapshot, mem_disk(t->copy)->bytes);
    }
    if (t->outcome.failed) {
        g_assert_cmpuint(t->outcome.errors, >, 0);
    }
}

/* Holds the guest still for a look. */
static void co_check_bits(PushTest *t)
{
    BlockDrain *drain;

    co_control_lock();
    drain = co_block_drain_begin(t->disk);
    g_assert_false(dirty_bitmap_busy(t->bitmap));
    check_clean_granules(t->bitmap, mem_disk(t->disk)->bytes, mem_disk(t->copy)->bytes);
    co_block_drain_end(drain);
    control_unlock();
}

static void co_push(void *opaque)
{
    PushTest t = { .snapshot = g_malloc(SIZE) };
    int succeeded = 0;

    co_control_lock();
    t.disk = co_mem_open("disk", SIZE);
    t.copy = co_mem_open("copy", SIZE);
    t.bitmap = block_node_bitmap_add(t.disk, "b", GRANULE, NULL);
    qmp_event_set_sink(note_event, &t.outcome);
    co_guest_start(&t.guest, t.disk, t.disk);
    t.guest.may_fail_to_read = true;
    control_unlock();
    for (int i = 0; i < rounds(); i++) {
        co_push_round(&t);
        co_check_bits(&t);
        succeeded += t.outcome.completed && !t.outcome.failed;
    }
    g_test_message("%d of %d backups succeeded; longest guest request %" G_GINT64_FORMAT " us",
                   succeeded, rounds(), t.guest.max_latency_ns / 1000);
    co_control_lock();
    g_assert_cmpuint(t.guest.failed, ==, 0); /* I5 */
    g_assert_cmpuint(t.disk->parents->len, ==, 1);
    co_guest_stop(&t.guest);
    co_block_node_unref(t.disk);
    co_block_node_unref(t.copy);
    control_unlock();
    qmp_event_set_sink(NULL, NULL);
    g_free(t.snapshot);
}

/* --- pull --- */

typedef struct PullTest {
    BlockNode *disk, *scratch, *cbw, *view;
    MemGuest guest;
    TestUser reader;
    uint8_t *snapshot;
    uint8_t *gone; /* a byte for each cluster that was discarded */
} PullTest;

static bool any_gone(const PullTest *t, int64_t offset, int64_t bytes)
{
    for (int64_t c = offset / GRANULE; c <= (offset + bytes - 1) / GRANULE; c++) {
        if (t->gone[c]) {
            return true;
        }
    }
    return false;
}

static void co_pull_read(PullTest *t, int64_t offset, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc(bytes);
    int ret = co_block_read_buf(t->reader.child, offset, buf, bytes);

    if (any_gone(t, offset, bytes)) {
        g_assert_cmpint(ret, ==, -EACCES);
    } else {
        g_assert_cmpint(ret, ==, 0);
        g_assert_cmpint(memcmp(buf, t->snapshot + offset, bytes), ==, 0);
    }
}

static void co_pull_status(PullTest *t, int64_t offset, int64_t bytes)
{
    BlockStatus status;
    int ret = co_block_status(t->reader.child, true, offset, bytes, &status);

    if (any_gone(t, offset, bytes)) {
        g_assert_cmpint(ret, ==, -EACCES);
        return;
    }
    g_assert_cmpint(ret, ==, 0);
    g_assert_cmpint(status.bytes, >, 0);
    g_assert_cmpint(status.bytes, <=, bytes);
    if (status.flags & BLOCK_STATUS_ZERO) {
        g_assert_true(buffer_is_zero(t->snapshot + offset, status.bytes));
    }
}

static void co_pull_discard(PullTest *t)
{
    int64_t c = test_range(0, SIZE / GRANULE + 1);

    t->gone[c] = 1;
    g_assert_cmpint(co_block_discard(t->reader.child, c * GRANULE,
                                     MIN(GRANULE, SIZE - c * GRANULE)), ==, 0);
}

static void co_pull_read_some(PullTest *t)
{
    for (int i = 0; i < 150; i++) {
        int64_t offset = test_range(0, SIZE);
        int64_t bytes = test_range(1, i % 10 ? 100000 : 1 << 20);

        bytes = MIN(SIZE - offset, bytes);
        switch (test_range(0, 8)) {
        case 0:
            co_pull_status(t, offset, bytes);
            break;
        case 1:
            if (i % 8 == 0) {
                co_pull_discard(t);
            }
            break;
        default:
            co_pull_read(t, offset, bytes);
        }
    }
}

static void co_pull_round(PullTest *t)
{
    co_control_lock();
    t->scratch = co_mem_open("scratch", SIZE);
    t->cbw = co_open_json("{'driver': 'copy-before-write', 'node-name': 'cbw', 'file': 'disk', "
                          "'target': 'scratch', 'discard': 'unmap'}");
    t->view = co_open_json("{'driver': 'snapshot-access', 'node-name': 'view', 'file': 'cbw', "
                           "'discard': 'unmap'}");
    memcpy(t->snapshot, mem_disk(t->disk)->bytes, SIZE);
    memset(t->gone, 0, SIZE / GRANULE + 1);
    co_guest_start(&t->guest, t->cbw, t->disk);
    g_assert_true(co_test_user_init(&t->reader, t->view,
                                    BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE, BLOCK_PERM_ALL,
                                    NULL));
    control_unlock();
    co_pull_read_some(t);
    co_control_lock();
    co_block_user_free(t->reader.user);
    co_guest_stop(&t->guest);
    co_block_node_unref(t->view);
    co_block_node_unref(t->cbw);
    co_block_node_unref(t->scratch);
    control_unlock();
}

static void co_pull(void *opaque)
{
    PullTest t = { .snapshot = g_malloc(SIZE), .gone = g_malloc0(SIZE / GRANULE + 1) };

    co_control_lock();
    t.disk = co_mem_open("disk", SIZE);
    control_unlock();
    for (int i = 0; i < rounds() / 4; i++) {
        co_pull_round(&t);
    }
    co_control_lock();
    co_block_node_unref(t.disk);
    control_unlock();
    g_free(t.snapshot);
    g_free(t.gone);
}

/* --- a failing scratch --- */

static void co_failing_scratch(void *opaque)
{
    bool break_guest = GPOINTER_TO_INT(opaque);
    PullTest t = { 0 };
    uint8_t byte;

    co_control_lock();
    t.disk = co_mem_open("disk", SIZE);
    t.scratch = co_mem_open("scratch", SIZE);
    t.cbw = co_open_json("{'driver': 'copy-before-write', 'node-name': 'cbw', 'file': 'disk', "
                         "'target': 'scratch', 'on-cbw-error': '%s'}",
                         break_guest ? "break-guest-write" : "break-snapshot");
    t.view = co_open_json("{'driver': 'snapshot-access', 'node-name': 'view', 'file': 'cbw'}");
    co_guest_start(&t.guest, t.cbw, t.disk);
    t.guest.may_fail = break_guest;
    mem_disk(t.scratch)->write_errors = 300;
    g_assert_true(co_test_user_init(&t.reader, t.view, BLOCK_PERM_CONSISTENT_READ, BLOCK_PERM_ALL,
                                    NULL));
    if (break_guest) {
        while (t.guest.failed < 3) {
            co_sleep_ns(100000);
        }
        g_assert_cmpint(co_block_read_buf(t.reader.child, 0, &byte, 1), ==, 0);
    } else {
        while (!block_copy_error(cbw_node_copy(t.cbw))) {
            co_sleep_ns(100000);
        }
        g_assert_cmpint(co_block_read_buf(t.reader.child, 0, &byte, 1), ==, -EACCES);
    }
    mem_disk(t.scratch)->write_errors = 0;
    co_block_user_free(t.reader.user);
    co_guest_stop(&t.guest);
    co_block_node_unref(t.view);
    co_block_node_unref(t.cbw);
    co_block_node_unref(t.scratch);
    co_block_node_unref(t.disk);
    control_unlock();
}

/* The save takes longer than cbw-timeout: the guest gets an error, and the save goes on. */
static void co_timeout(void *opaque)
{
    uint8_t bytes[512] = { 1 };
    PullTest t = { 0 };
    TestUser guest;

    co_control_lock();
    t.disk = co_mem_open("disk", SIZE);
    t.scratch = co_mem_open("scratch", SIZE);
    t.cbw = co_open_json("{'driver': 'copy-before-write', 'node-name': 'cbw', 'file': 'disk', "
                         "'target': 'scratch', 'cbw-timeout': 1}");
    mem_disk(t.scratch)->slow_ns = 1300000000;
    g_assert_true(co_test_user_init(&guest, t.cbw, BLOCK_PERM_WRITE, BLOCK_PERM_ALL, NULL));
    g_assert_cmpint(co_block_write_buf(guest.child, 0, bytes, sizeof(bytes), 0), ==, -ETIMEDOUT);
    g_assert_cmpint(co_block_write_buf(guest.child, 0, bytes, sizeof(bytes), 0), ==, 0);
    co_block_user_free(guest.user);
    co_block_node_unref(t.cbw);
    co_block_node_unref(t.scratch);
    co_block_node_unref(t.disk);
    control_unlock();
}

/* --- what a random run seldom meets --- */

static void co_zero_soon(void *opaque)
{
    TestUser *guest = opaque;

    co_sleep_ns(500000);
    g_assert_cmpint(co_block_write_zeroes(guest->child, 0, GRANULE, 0), ==, 0);
}

/*
 * Block status of the source is old news by the time it is heard: it must be overlaid, as reads
 * are.
 */
static void co_old_status(void *opaque)
{
    PullTest t = { 0 };
    BlockStatus status;
    TestUser guest;

    co_control_lock();
    t.disk = co_mem_open("disk", SIZE);
    t.scratch = co_mem_open("scratch", SIZE);
    memset(mem_disk(t.disk)->bytes, 0x55, SIZE);
    t.cbw = co_open_json("{'driver': 'copy-before-write', 'node-name': 'cbw', 'file': 'disk', "
                         "'target': 'scratch'}");
    t.view = co_open_json("{'driver': 'snapshot-access', 'node-name': 'view', 'file': 'cbw'}");
    g_assert_true(co_test_user_init(&guest, t.cbw, BLOCK_PERM_WRITE, BLOCK_PERM_ALL, NULL));
    g_assert_true(co_test_user_init(&t.reader, t.view, BLOCK_PERM_CONSISTENT_READ, BLOCK_PERM_ALL,
                                    NULL));
    mem_disk(t.disk)->slow_status_ns = 5000000;
    co_start(co_zero_soon, &guest);
    g_assert_cmpint(co_block_status(t.reader.child, true, 0, 2 * GRANULE, &status), ==, 0);
    g_assert_false(status.flags & BLOCK_STATUS_ZERO);
    co_block_user_free(guest.user);
    co_block_user_free(t.reader.user);
    co_block_node_unref(t.view);
    co_block_node_unref(t.cbw);
    co_block_node_unref(t.scratch);
    co_block_node_unref(t.disk);
    control_unlock();
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
        co_start_backup(&args, t.disk, t.snapshot);
        while (job_find("j")) {
            co_sleep_ns(100000);
        }
        g_assert_true(t.outcome.completed);
        g_assert_cmpint(t.outcome.failed, ==, t.outcome.errors > 0);
        if (!t.outcome.failed) { /* all requests were lucky */
            check_all(t.snapshot, mem_disk(t.copy)->bytes);
            g_assert_cmpint(dirty_bitmap_count(t.bitmap), ==, 0);
        }
        check_clean_granules(t.bitmap, mem_disk(t.disk)->bytes, mem_disk(t.copy)->bytes);
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
    CbwJobOptions options = { .staged = true, .staging_bytes = 2 << 20 };
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

/* --- the spill file --- */

typedef struct SpillTest {
    BlockNode *disk, *copy, *cbw;
    BlockCopy *c;
    uint8_t *snapshot;
    RateLimit limit;
    Progress progress;
    Copier *copier;
    unsigned workers; /* 0: one */
    unsigned told;    /* calls of notify */
    MemGuest guest;
    TestUser writer;  /* where there is no guest */
    unsigned writes;  /* of its, that are done */
    unsigned readers; /* of its coroutines */
    bool stop;
} SpillTest;

static void count_call(void *opaque)
{
    ++*(unsigned *)opaque;
}

/* @fd: the spill file, or -1. */
static void co_spill_open(SpillTest *t, bool single, int64_t spill_bytes, int fd)
{
    CbwJobOptions options = { .staged = true, .staging_bytes = 2 << 20 };

    co_control_lock();
    t->disk = co_mem_open("disk", ROOM_SIZE);
    t->copy = co_mem_open("copy", ROOM_SIZE);
    for (int i = 0; i < ROOM_SIZE; i++) {
        mem_disk(t->disk)->bytes[i] = test_range(1, 256);
    }
    t->snapshot = g_memdup2(mem_disk(t->disk)->bytes, ROOM_SIZE);
    t->cbw = co_cbw_open_for_job(t->disk, t->copy, &options, NULL);
    t->c = cbw_node_copy(t->cbw);
    t->c->takes_single_blocks = single;
    block_copy_spill_to(t->c, spill_bytes, fd);
    t->copier = copier_new(&(CopierOptions){
        .copy = t->c, .max_workers = MAX(1, t->workers), .max_chunk = 65536, .limit = &t->limit,
        .progress = &t->progress, .notify = count_call, .opaque = &t->told,
    });
    control_unlock();
}

static void co_spill_close(SpillTest *t)
{
    co_control_lock();
    copier_free(t->copier);
    co_block_node_unref(t->cbw);
    co_block_node_unref(t->copy);
    co_block_node_unref(t->disk);
    control_unlock();
    g_free(t->snapshot);
}

static void co_spill_begin(SpillTest *t, bool single, int64_t spill_bytes, int fd)
{
    co_spill_open(t, single, spill_bytes, fd);
    mem_disk(t->copy)->slow_ns = 100000000;
    co_control_lock();
    co_guest_start(&t->guest, t->cbw, t->disk);
    control_unlock();
}

static void co_spill_end(SpillTest *t)
{
    co_control_lock();
    co_guest_stop(&t->guest);
    g_assert_cmpuint(t->guest.failed, ==, 0); /* I5 */
    control_unlock();
    co_spill_close(t);
}

static void co_writer_begin(SpillTest *t)
{
    co_control_lock();
    g_assert_true(co_test_user_init(&t->writer, t->cbw,
                                    BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE, BLOCK_PERM_ALL,
                                    NULL));
    control_unlock();
}

static void co_writer_end(SpillTest *t)
{
    co_control_lock();
    co_block_user_free(t->writer.user);
    control_unlock();
}

static void co_overwrite(SpillTest *t, int64_t offset, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc0(bytes);

    g_assert_cmpint(co_block_write_buf(t->writer.child, offset, buf, bytes, 0), ==, 0);
    t->writes++;
}

typedef struct Mib {
    SpillTest *test;
    int64_t index;
} Mib;

static Mib *mib_of(SpillTest *t, int64_t index)
{
    Mib *mib = g_new(Mib, 1);

    *mib = (Mib){ t, index };
    return mib;
}

static void co_overwrite_mib(void *opaque)
{
    g_autofree Mib *mib = opaque;

    co_overwrite(mib->test, mib->index << 20, 1 << 20);
}

/* I2: the frozen view shows the same, wherever its blocks are now. */
static void co_spill_look(SpillTest *t)
{
    g_autofree uint8_t *buf = g_malloc(200000);
    int64_t offset = test_range(0, ROOM_SIZE - 200000), bytes = test_range(1, 200000);
    struct iovec iov = { buf, bytes };
    IoSlice data = io_slice(&iov, 1);

    g_assert_cmpint(co_block_copy_frozen_read(t->c, offset, &data), ==, 0);
    g_assert_cmpmem(buf, bytes, t->snapshot + offset, bytes);
}

/* A target that is slow for a while: what staging has no room for waits in the file. */
static void co_spill(void *opaque)
{
    SpillTest t = { 0 };
    bool spilled = false;

    co_spill_begin(&t, GPOINTER_TO_INT(opaque), 64 << 20, -1);
    while (!copier_done(t.copier)) {
        copier_pump(t.copier);
        co_sleep_ns(200000);
        co_spill_look(&t);
        spilled |= spill_used(t.c->spill) >= 3 << 20;
        if (spilled) {
            mem_disk(t.copy)->slow_ns = 100000;
        }
    }
    g_assert_true(spilled);
    g_assert_cmpint(spill_used(t.c->spill), ==, 0);
    g_assert_false(block_copy_stopped(t.c));
    g_assert_cmpmem(mem_disk(t.copy)->bytes, ROOM_SIZE, t.snapshot, ROOM_SIZE);
    co_spill_end(&t);
}

/* Full, or failed, and the target does not keep up: the copy fails, the guest does not (I5). */
static void co_spill_useless(bool single, int fd)
{
    SpillTest t = { 0 };

    co_spill_begin(&t, single, 1 << 20, fd);
    mem_disk(t.copy)->slow_ns = 1000000000;
    while (!block_copy_stopped(t.c)) {
        copier_pump(t.copier);
        co_sleep_ns(200000);
    }
    g_assert_cmpint(block_copy_error(t.c), ==, -ENOBUFS);
    mem_disk(t.copy)->slow_ns = 0;
    while (copier_in_flight(t.copier)) {
        co_sleep_ns(200000);
    }
    g_assert_cmpint(t.c->spill_error, ==, fd < 0 ? 0 : -EBADF);
    co_spill_end(&t);
}

static void co_spill_full(void *opaque)
{
    co_spill_useless(GPOINTER_TO_INT(opaque), -1);
}

static void co_spill_fails(void *opaque)
{
    co_spill_useless(GPOINTER_TO_INT(opaque), open("/dev/null", O_RDONLY | O_CLOEXEC));
}

/*
 * All of staging is taken by saves that have not ended, and nobody comes after who waits: what they
 * saved is spilled nevertheless.
 */
static void co_spill_last(void *opaque)
{
    SpillTest t = { 0 };

    co_spill_open(&t, true, 64 << 20, -1);
    co_writer_begin(&t);
    mem_disk(t.disk)->slow_ns = 5000000;
    for (int64_t i = 0; i < 5; i++) {
        co_start(co_overwrite_mib, mib_of(&t, i));
    }
    while (t.writes < 5) {
        co_sleep_ns(200000);
    }
    g_assert_false(block_copy_stopped(t.c));
    co_writer_end(&t);
    co_spill_close(&t);
}

/* Who waits because the file is full goes on when it is not any more. */
static void co_spill_room_again(void *opaque)
{
    SpillTest t = { 0 };

    co_spill_open(&t, false, 1 << 20, -1);
    co_writer_begin(&t);
    for (int64_t i = 0; i < 3; i++) {
        co_overwrite_mib(mib_of(&t, i));
        co_sleep_ns(20000000);
    }
    g_assert_cmpuint(spill_room(t.c->spill), ==, 0);
    g_assert_cmpuint(staging_used(t.c->staging), ==, staging_capacity(t.c->staging));
    co_start(co_overwrite_mib, mib_of(&t, 3));
    co_sleep_ns(20000000);
    g_assert_cmpuint(t.writes, ==, 3);
    g_assert_cmpint(co_block_copy_frozen_discard(t.c, 0, 1 << 20), ==, 0);
    while (t.writes < 4) {
        co_sleep_ns(200000);
    }
    g_assert_false(block_copy_stopped(t.c));
    co_writer_end(&t);
    co_spill_close(&t);
}

static void co_finish_copy(SpillTest *t)
{
    while (!copier_done(t->copier)) {
        copier_pump(t->copier);
        co_sleep_ns(200000);
    }
    g_assert_cmpmem(mem_disk(t->copy)->bytes, ROOM_SIZE, t->snapshot, ROOM_SIZE);
}

/*
 * I2: a chunk that has fetched some of its blocks when reading another fails reads the source anew,
 * and does not take what the guest wrote for what it fetched.
 */
static void co_spill_read_fails(void *opaque)
{
    g_autofree char *name = NULL;
    int fd = g_file_open_tmp("spill-XXXXXX", &name, NULL);
    int64_t kept = 7 * MEM_PAGE; /* the slots of blocks 0, 2 … 12 */
    int64_t rest = 122 * MEM_PAGE;
    g_autofree uint8_t *lost = g_malloc(rest);
    SpillTest t = { 0 };
    bool is_read;

    co_spill_open(&t, false, 64 << 20, dup(fd));
    co_writer_begin(&t);
    for (int64_t i = 0; i < 130; i++) {
        co_overwrite(&t, 2 * i * MEM_PAGE, MEM_PAGE);
    }
    while (t.c->spilling) {
        co_sleep_ns(200000);
    }
    g_assert_cmpuint(sparse_bitmap_count(spill_held(t.c->spill)), ==, 129);
    g_assert_cmpint(pread(fd, lost, rest, kept), ==, rest);
    g_assert_cmpint(ftruncate(fd, kept), ==, 0);
    while (!copier_error(t.copier, &is_read) || copier_in_flight(t.copier)) {
        copier_pump(t.copier);
        co_sleep_ns(200000);
    }
    g_assert_true(is_read);
    g_assert_cmpint(pwrite(fd, lost, rest, kept), ==, rest);
    copier_retry(t.copier);
    co_finish_copy(&t);
    co_writer_end(&t);
    co_spill_close(&t);
    unlink(name);
    close(fd);
}

static void co_reader(void *opaque)
{
    SpillTest *t = opaque;
    uint8_t buf[512];

    while (!t->stop) {
        g_assert_cmpint(co_block_read_buf(t->writer.child, test_range(0, ROOM_SIZE / 512) * 512, buf,
                                          sizeof(buf)), ==, 0);
        co_pass();
    }
    t->readers--;
}

/*
 * Who sleeps until copier_wake_time() is told when that comes nearer, however long the target takes.
 */
static void co_told_of_wake(void *opaque)
{
    SpillTest t = { .workers = 16 };
    int64_t knows = INT64_MAX;
    unsigned told = -1;

    co_spill_open(&t, true, 64 << 20, -1);
    co_writer_begin(&t);
    mem_disk(t.copy)->slow_ns = 50000000;
    for (t.readers = 0; t.readers < 8; t.readers++) {
        co_start(co_reader, &t);
    }
    while (!copier_done(t.copier)) {
        if (t.told != told || loop_now_ns() >= knows) {
            told = t.told;
            copier_pump(t.copier);
            knows = copier_wake_time(t.copier);
        }
        g_assert_true(t.told != told || copier_wake_time(t.copier) >= knows);
        co_sleep_ns(100000);
    }
    for (t.stop = true; t.readers;) {
        co_pass();
    }
    co_writer_end(&t);
    co_spill_close(&t);
}

/* --- */

typedef struct Body {
    CoFn *fn;
    void *opaque;
} Body;

static void co_body(void *opaque)
{
    Body *body = opaque;

    control_init(loop_current());
    block_drivers_register();
    block_driver_register(&mem_driver);
    body->fn(body->opaque);
}

static void run(CoFn *fn, void *opaque)
{
    Body body = { fn, opaque };

    run_in_co(co_body, &body);
}

static void test_push(void)
{
    run(co_push, NULL);
}

static void test_pull(void)
{
    run(co_pull, NULL);
}

static void test_break_guest_write(void)
{
    run(co_failing_scratch, GINT_TO_POINTER(true));
}

static void test_break_snapshot(void)
{
    run(co_failing_scratch, GINT_TO_POINTER(false));
}

static void test_timeout(void)
{
    run(co_timeout, NULL);
}

static void test_old_status(void)
{
    run(co_old_status, NULL);
}

static void test_always_failed(void)
{
    run(co_always_failed, NULL);
}

static void test_little_room(void)
{
    run(co_little_room, NULL);
}

static void test_spill(void)
{
    run(co_spill, GINT_TO_POINTER(true));
    run(co_spill, GINT_TO_POINTER(false));
}

static void test_spill_fails(void)
{
    run(co_spill_fails, GINT_TO_POINTER(true));
    run(co_spill_fails, GINT_TO_POINTER(false));
}

static void test_spill_last(void)
{
    run(co_spill_last, NULL);
}

static void test_spill_room_again(void)
{
    run(co_spill_room_again, NULL);
}

static void test_spill_read_fails(void)
{
    run(co_spill_read_fails, NULL);
}

static void test_told_of_wake(void)
{
    run(co_told_of_wake, NULL);
}

static void test_spill_full(void)
{
    run(co_spill_full, GINT_TO_POINTER(true));
    run(co_spill_full, GINT_TO_POINTER(false));
}

int main(int argc, char **argv)
{
    const char *given = g_getenv("TIDEMARK_SEED");
    uint32_t seed = given ? strtoul(given, NULL, 0) : g_random_int();
    int ret;

    g_test_init(&argc, &argv, NULL);
    test_rand = g_rand_new_with_seed(seed);
    g_test_message("TIDEMARK_SEED=%u", seed);
    g_test_add_func("/block-copy/push", test_push);
    g_test_add_func("/block-copy/pull", test_pull);
    g_test_add_func("/block-copy/break-guest-write", test_break_guest_write);
    g_test_add_func("/block-copy/break-snapshot", test_break_snapshot);
    g_test_add_func("/block-copy/timeout", test_timeout);
    g_test_add_func("/block-copy/old-status", test_old_status);
    g_test_add_func("/block-copy/always-failed", test_always_failed);
    g_test_add_func("/block-copy/little-room", test_little_room);
    g_test_add_func("/block-copy/spill", test_spill);
    g_test_add_func("/block-copy/spill-full", test_spill_full);
    g_test_add_func("/block-copy/spill-fails", test_spill_fails);
    g_test_add_func("/block-copy/spill-last", test_spill_last);
    g_test_add_func("/block-copy/spill-room-again", test_spill_room_again);
    g_test_add_func("/block-copy/spill-read-fails", test_spill_read_fails);
    g_test_add_func("/block-copy/told-of-wake", test_told_of_wake);
    ret = g_test_run();
    g_rand_free(test_rand);
    return ret;
}
