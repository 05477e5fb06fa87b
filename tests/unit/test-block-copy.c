/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copies of a live disk against a model: a guest writes to a disk in memory while backup jobs push
 * it, are paused, cancelled, and fail; while a reader pulls its frozen view; and with little room
 * for saves.
 *
 * TIDEMARK_SEED repeats a run, TIDEMARK_ROUNDS sets its length.
 */
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
    uint8_t *gone;   /* a byte for each page that was discarded */
    bool staged;
    bool may_break;  /* the scratch fails or is slow: the view may be broken */
    int64_t unit;    /* of discards */
} PullTest;

#define PAGES ((SIZE + MEM_PAGE - 1) / MEM_PAGE)

static bool any_gone(const PullTest *t, int64_t offset, int64_t bytes)
{
    return memchr(t->gone + offset / MEM_PAGE, 1,
                  (offset + bytes - 1) / MEM_PAGE - offset / MEM_PAGE + 1);
}

/* Is the answer to a request of the view right?  True: there is data to be looked at. */
static bool pull_answer_is_good(const PullTest *t, int64_t offset, int64_t bytes, int ret)
{
    if (any_gone(t, offset, bytes) || (t->may_break && block_copy_error(cbw_node_copy(t->cbw)))) {
        g_assert_cmpint(ret, ==, -EACCES);
        return false;
    }
    g_assert_cmpint(ret, ==, 0);
    return true;
}

static void co_pull_read(PullTest *t, int64_t offset, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc(bytes);
    int ret;

    test_user_begin(&t->reader);
    ret = co_block_read_buf(t->reader.child, offset, buf, bytes);
    test_user_end(&t->reader);
    if (pull_answer_is_good(t, offset, bytes, ret)) {
        g_assert_cmpint(memcmp(buf, t->snapshot + offset, bytes), ==, 0);
    }
}

static void co_pull_status(PullTest *t, int64_t offset, int64_t bytes)
{
    BlockStatus status;
    int ret;

    test_user_begin(&t->reader);
    ret = co_block_status(t->reader.child, true, offset, bytes, &status);
    test_user_end(&t->reader);
    if (!pull_answer_is_good(t, offset, bytes, ret)) {
        return;
    }
    g_assert_cmpint(status.bytes, >, 0);
    g_assert_cmpint(status.bytes, <=, bytes);
    if (status.flags & BLOCK_STATUS_ZERO) {
        g_assert_true(buffer_is_zero(t->snapshot + offset, status.bytes));
    }
}

/* One unit mostly, not always a whole one. */
static void co_pull_discard(PullTest *t)
{
    int64_t offset = test_range(0, SIZE), bytes = test_range(1, 3 * t->unit), start, end;

    if (test_bit()) {
        offset = align_down(offset, t->unit);
        bytes = t->unit;
    }
    bytes = MIN(bytes, SIZE - offset);
    start = align_up(offset, t->unit);
    end = offset + bytes == SIZE ? SIZE : align_down(offset + bytes, t->unit);
    if (start < end) {
        memset(t->gone + start / MEM_PAGE, 1, units_covering(end, MEM_PAGE) - start / MEM_PAGE);
    }
    test_user_begin(&t->reader);
    g_assert_cmpint(co_block_discard(t->reader.child, offset, bytes), ==, 0);
    test_user_end(&t->reader);
}

static void co_pull_step(PullTest *t, int i)
{
    int64_t offset = test_range(0, SIZE);
    int64_t bytes = test_range(1, i % 10 ? 100000 : 1 << 20);

    bytes = MIN(SIZE - offset, bytes);
    switch (test_range(0, 12)) {
    case 0:
        co_pull_status(t, offset, bytes);
        break;
    case 1:
        if (i % (t->unit == GRANULE ? 8 : 2) == 0) {
            co_pull_discard(t);
        }
        break;
    case 2:
        co_drain_once(test_bit() ? t->disk : t->scratch);
        break;
    case 3:
        co_sleep_ns(test_range(0, 500000));
        break;
    default:
        co_pull_read(t, offset, bytes);
    }
}

/*
 * All that the guest has changed is in the scratch when the filter is gone.  What was discarded is
 * not, even if it was on its way (written through, it may be).
 */
static void check_scratch(const PullTest *t)
{
    const uint8_t *disk = mem_disk(t->disk)->bytes, *scratch = mem_disk(t->scratch)->bytes;

    for (int64_t at = 0; at < SIZE; at += MEM_PAGE) {
        int64_t n = MIN(MEM_PAGE, SIZE - at);

        if (t->gone[at / MEM_PAGE]) {
            g_assert_true(!t->staged || buffer_is_zero(scratch + at, n));
        } else if (memcmp(disk + at, t->snapshot + at, n) != 0) {
            g_assert_cmpint(memcmp(scratch + at, t->snapshot + at, n), ==, 0);
        }
    }
}

static void co_pull_open(PullTest *t)
{
    t->staged = test_range(0, 4) > 0;
    t->unit = t->staged ? MEM_PAGE : GRANULE;
    t->scratch = co_mem_open("scratch", SIZE);
    memset(mem_disk(t->scratch)->bytes, 0xee, SIZE); /* zeroes must be written, too */
    t->cbw = co_open_json("{'driver': 'copy-before-write', 'node-name': 'cbw', 'file': 'disk', "
                          "'target': 'scratch', 'discard': 'unmap', %s}",
                          t->staged ? "'staging-size': 2097152"
                                    : "'on-cbw-error': 'break-guest-write'");
    t->view = co_open_json("{'driver': 'snapshot-access', 'node-name': 'view', 'file': 'cbw', "
                           "'discard': 'unmap'}");
    memcpy(t->snapshot, mem_disk(t->disk)->bytes, SIZE);
    memset(t->gone, 0, PAGES);
    t->may_break = t->staged && test_range(0, 3) == 0;
    mem_disk(t->scratch)->write_errors = t->may_break && test_bit() ? 20 : 0;
    mem_disk(t->scratch)->slow_ns = t->staged && test_bit() ? test_range(0, 10000000) : 0;
}

static void co_pull_round(PullTest *t)
{
    bool broken;

    co_control_lock();
    co_pull_open(t);
    co_guest_start(&t->guest, t->cbw, t->disk);
    g_assert_true(co_test_user_init(&t->reader, t->view,
                                    BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE, BLOCK_PERM_ALL,
                                    NULL));
    control_unlock();
    for (int i = 0; i < 150; i++) {
        co_pull_step(t, i);
    }
    co_control_lock();
    co_block_user_free(t->reader.user);
    co_guest_stop(&t->guest); /* none of its requests has failed (I5) */
    co_block_node_unref(t->view);
    broken = block_copy_error(cbw_node_copy(t->cbw));
    g_assert_true(t->may_break || !broken);
    co_block_node_unref(t->cbw);
    if (!broken && !t->may_break) { /* it may have broken at the last moment */
        check_scratch(t);
    }
    mem_disk(t->scratch)->write_errors = 0;
    co_block_node_unref(t->scratch);
    control_unlock();
}

static void co_pull(void *opaque)
{
    PullTest t = { .snapshot = g_malloc(SIZE), .gone = g_malloc0(PAGES) };

    co_control_lock();
    t.disk = co_mem_open("disk", SIZE);
    control_unlock();
    for (int i = 0; i < rounds() / 3; i++) {
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
    memset(mem_disk(t.disk)->bytes, 0x55, SIZE); /* what was zero is not written to scratch */
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
                         "'target': 'scratch', 'cbw-timeout': 1, "
                         "'on-cbw-error': 'break-guest-write'}");
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

/* What is on its way to a slow scratch when it is discarded must not land there later. */
static void co_discard_on_the_way(void *opaque)
{
    g_autofree uint8_t *bytes = g_malloc0(GRANULE);
    PullTest t = { 0 };
    TestUser guest;

    co_control_lock();
    t.disk = co_mem_open("disk", SIZE);
    t.scratch = co_mem_open("scratch", SIZE);
    memset(mem_disk(t.disk)->bytes, 0x55, SIZE);
    mem_disk(t.scratch)->slow_ns = 5000000;
    t.cbw = co_open_json("{'driver': 'copy-before-write', 'node-name': 'cbw', 'file': 'disk', "
                         "'target': 'scratch'}");
    t.view = co_open_json("{'driver': 'snapshot-access', 'node-name': 'view', 'file': 'cbw', "
                          "'discard': 'unmap'}");
    g_assert_true(co_test_user_init(&guest, t.cbw, BLOCK_PERM_WRITE, BLOCK_PERM_ALL, NULL));
    g_assert_true(co_test_user_init(&t.reader, t.view,
                                    BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE, BLOCK_PERM_ALL,
                                    NULL));
    g_assert_cmpint(co_block_write_buf(guest.child, 0, bytes, GRANULE, 0), ==, 0);
    g_assert_nonnull(cbw_node_copy(t.cbw)->transits);
    g_assert_cmpint(co_block_discard(t.reader.child, 0, GRANULE), ==, 0);
    co_block_user_free(guest.user);
    co_block_user_free(t.reader.user);
    co_block_node_unref(t.view);
    co_block_node_unref(t.cbw);
    g_assert_true(buffer_is_zero(mem_disk(t.scratch)->bytes, SIZE));
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

static void test_discard_on_the_way(void)
{
    run(co_discard_on_the_way, NULL);
}

static void test_always_failed(void)
{
    run(co_always_failed, NULL);
}

static void test_little_room(void)
{
    run(co_little_room, NULL);
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
    g_test_add_func("/block-copy/discard-on-the-way", test_discard_on_the_way);
    g_test_add_func("/block-copy/always-failed", test_always_failed);
    g_test_add_func("/block-copy/little-room", test_little_room);
    ret = g_test_run();
    g_rand_free(test_rand);
    return ret;
}
