/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Chunks that the host copies while the guest writes: against a model, with a host that is slow,
 * tears and fails; when it is not let at the target; and with real files.
 *
 * TIDEMARK_SEED repeats a run, TIDEMARK_ROUNDS sets its length.
 */
#include <errno.h>

#include "block/copy/copier.h"
#include "block/node-bitmaps.h"
#include "tests/unit/copy-util.h"

typedef struct HostTest {
    BlockNode *disk, *copy;
    MemGuest guest;
    Outcome outcome;
    uint8_t *snapshot;
} HostTest;

static void co_open_disks(HostTest *t)
{
    *t = (HostTest){ .snapshot = g_malloc(SIZE) };
    t->disk = co_mem_open("disk", SIZE);
    t->copy = co_mem_open("copy", SIZE);
    for (int64_t i = 0; i < SIZE; i++) { /* no page is zero */
        mem_disk(t->disk)->bytes[i] = i % 251 + 1;
    }
}

static void co_begin(HostTest *t, bool guest)
{
    co_control_lock();
    co_open_disks(t);
    qmp_event_set_sink(note_event, &t->outcome);
    if (guest) {
        co_guest_start(&t->guest, t->disk, t->disk);
    }
    control_unlock();
}

static void co_end(HostTest *t, bool guest)
{
    co_control_lock();
    if (guest) {
        co_guest_stop(&t->guest);
    }
    co_block_node_unref(t->disk);
    co_block_node_unref(t->copy);
    control_unlock();
    qmp_event_set_sink(NULL, NULL);
    g_free(t->snapshot);
}

static void co_wait_for_job(void)
{
    while (job_find("j")) {
        co_sleep_ns(100000);
    }
}

static void check_copy(const HostTest *t)
{
    for (int64_t at = 0; at < SIZE; at++) {
        if (t->snapshot[at] != mem_disk(t->copy)->bytes[at]) {
            g_error("byte %" G_GINT64_FORMAT " differs", at);
        }
    }
}

/* A full push with staging for a part of the disk only, so that blocks leave it singly, too. */
static void co_push(HostTest *t, unsigned workers)
{
    BackupPerf perf = {
        .has_use_copy_range = true, .use_copy_range = true,
        .has_max_workers = true, .max_workers = workers,
        .has_max_chunk = true, .max_chunk = 65536 * test_range(1, 16),
    };
    BlockdevBackup args = {
        .job_id = (char *)"j", .device = (char *)"disk", .target = (char *)"copy",
        .sync = MIRROR_SYNC_MODE_FULL, .x_perf = &perf,
        .has_staging_size = true, .staging_size = 2 << 20,
        .has_staging_file_size = true, .staging_file_size = test_range(0, 3) << 20,
    };

    t->outcome = (Outcome){ 0 };
    memset(mem_disk(t->copy)->bytes, 0xee, SIZE);
    co_start_backup(&args, t->disk, t->snapshot, NULL, NULL);
    co_wait_for_job();
}

static void co_model(void *opaque)
{
    HostTest t;
    int64_t by_host;

    co_begin(&t, true);
    for (int i = 0; i < rounds(40); i++) {
        mem_disk(t.copy)->slow_ns = test_bit() ? test_range(0, 2000000) : 0;
        mem_disk(t.copy)->host_errors = test_bit() ? 50 : 0;
        co_push(&t, test_range(1, 5));
        g_assert_true(t.outcome.completed && !t.outcome.failed);
        check_copy(&t);
    }
    by_host = mem_disk(t.copy)->hosted;
    g_test_message("%" PRId64 " bytes by the host, in %d rounds", by_host, rounds(40));
    g_assert_cmpint(by_host, >, 0);
    g_assert_cmpuint(t.guest.failed, ==, 0); /* I5 */
    co_end(&t, true);
}

/* Nobody writes: all is the host's. */
static void co_all(void *opaque)
{
    HostTest t;

    co_begin(&t, false);
    co_push(&t, 4);
    check_copy(&t);
    g_assert_cmpint(mem_disk(t.copy)->hosted, ==, SIZE);
    co_end(&t, false);
}

/* It fails: the rest, and what it failed at, is read and written, and nobody hears of it. */
static void co_fails(void *opaque)
{
    HostTest t;

    co_begin(&t, false);
    mem_disk(t.copy)->host_errors = 1000;
    co_push(&t, 1);
    g_assert_true(t.outcome.completed && !t.outcome.failed);
    g_assert_cmpuint(t.outcome.errors, ==, 0);
    check_copy(&t);
    g_assert_cmpuint(mem_disk(t.copy)->host_tries, ==, 1);
    co_end(&t, false);
}

/* Who reads the target must see no byte that is newer than the instant: not for a moment. */
static void co_is_read(void *opaque)
{
    HostTest t;
    TestUser reader;

    co_begin(&t, false);
    co_control_lock();
    g_assert_true(co_test_user_init(&reader, t.copy, BLOCK_PERM_CONSISTENT_READ, BLOCK_PERM_ALL,
                                    NULL));
    control_unlock();
    co_push(&t, 4);
    check_copy(&t);
    g_assert_cmpint(mem_disk(t.copy)->hosted, ==, 0);
    co_control_lock();
    co_block_user_free(reader.user);
    control_unlock();
    co_end(&t, false);
}

static void ignore(void *opaque)
{
}

/* A copier by itself: the guest's writes come while the host is held at the first chunk. */
typedef struct Alone {
    HostTest t;
    BlockCopy *copy;
    BlockNode *cbw;
    Copier *copier;
    TestUser guest;
    RateLimit limit;
    Progress progress;
} Alone;

static void co_alone_begin(Alone *a)
{
    co_begin(&a->t, false);
    co_control_lock();
    a->cbw = co_cbw_open_for_job(a->t.disk, a->t.copy, &(CbwJobOptions){ 0 }, NULL);
    a->copy = cbw_node_copy(a->cbw);
    a->copier = copier_new(&(CopierOptions){
        .copy = a->copy, .max_workers = 1, .use_copy_range = true, .limit = &a->limit,
        .progress = &a->progress, .notify = ignore,
    });
    g_assert_true(co_test_user_init(&a->guest, a->cbw, BLOCK_PERM_WRITE, BLOCK_PERM_ALL, NULL));
    mem_disk(a->t.copy)->stuck = true;
    copier_pump(a->copier); /* asks for block status, and then begins */
    while (!sparse_bitmap_count(a->copy->hosted)) {
        co_pass();
    }
}

static void co_alone_write(Alone *a, int64_t bytes)
{
    g_autofree uint8_t *new = g_malloc(bytes);

    memset(new, 0xff, bytes);
    g_assert_cmpint(co_block_write_buf(a->guest.child, 0, new, bytes, 0), ==, 0);
    mem_disk(a->t.copy)->stuck = false;
}

static void co_alone_end(Alone *a)
{
    copier_free(a->copier);
    co_block_user_free(a->guest.user);
    co_block_node_unref(a->cbw);
    control_unlock();
    co_end(&a->t, false);
}

/* Old bytes that are lost while the host copies: what it wrote may be new, and goes. */
static void co_lost(void *opaque)
{
    Alone a = { 0 };
    const uint8_t *disk, *copy;

    co_alone_begin(&a);
    disk = mem_disk(a.t.disk)->bytes;
    copy = mem_disk(a.t.copy)->bytes;
    mem_disk(a.t.disk)->read_errors = 1000;
    co_alone_write(&a, 65536);
    g_assert_cmpint(block_copy_lost_error(a.copy), ==, -EIO);
    while (!copier_done(a.copier)) {
        copier_pump(a.copier);
        co_sleep_ns(100000);
    }
    g_assert_true(buffer_is_zero(copy, 65536));
    g_assert_cmpint(memcmp(copy + 65536, disk + 65536, SIZE - 65536), ==, 0);
    co_alone_end(&a);
}

/* I3: a copy that is cancelled lets the guest write without saving, whatever the host is at. */
static void co_cancelled(void *opaque)
{
    Alone a = { 0 };
    DirtyBitmap *rest;

    co_alone_begin(&a);
    block_copy_stop(a.copy, -ECANCELED);
    co_alone_write(&a, 65536);
    while (copier_in_flight(a.copier)) {
        co_sleep_ns(100000);
    }
    rest = block_node_bitmap_add(a.t.copy, "rest", 4096, NULL);
    block_copy_mark_rest(a.copy, rest);
    copier_mark_rest(a.copier, rest);
    g_assert_cmpint(dirty_bitmap_count(rest), ==, align_up(SIZE, 4096));
    co_alone_end(&a);
}

/* Where others read the target by the source, as in a classic pull, the host may not. */
static void co_not_where_others_read(void *opaque)
{
    Alone a = { 0 };

    co_alone_begin(&a);
    g_assert_true(copy_host_may(a.copy, SIZE / 2, 65536));
    a.copy->target_flags = BLOCK_SERIALISING;
    g_assert_false(copy_host_may(a.copy, SIZE / 2, 65536));
    mem_disk(a.t.copy)->stuck = false;
    while (copier_in_flight(a.copier)) {
        co_sleep_ns(100000);
    }
    co_alone_end(&a);
}

/* --- the gate --- */

static int co_try(TestUser *from, int64_t from_offset, TestUser *to, int64_t to_offset,
                  int64_t bytes)
{
    return co_block_copy_range(from->child, from_offset, to->child, to_offset, bytes);
}

static void co_gate(void *opaque)
{
    const unsigned all = BLOCK_PERM_ALL, read = BLOCK_PERM_CONSISTENT_READ;
    HostTest t;
    BlockNode *zeroes, *filter;
    TestUser from, to, no_writer, detects, filtered;
    DirtyBitmap *bitmap;

    co_control_lock();
    co_open_disks(&t);
    zeroes = co_open_json("{'driver': 'null-co', 'node-name': 'z', 'size': 65536, "
                          "'detect-zeroes': 'on'}");
    filter = co_open_json("{'driver': 'blkdebug', 'node-name': 'f', 'image': 'copy'}");
    bitmap = block_node_bitmap_add(t.copy, "b", 4096, NULL);
    g_assert_true(co_test_user_init(&from, t.disk, read, all, NULL));
    g_assert_true(co_test_user_init(&to, t.copy, BLOCK_PERM_WRITE, all, NULL));
    g_assert_true(co_test_user_init(&no_writer, t.copy, read, all, NULL));
    g_assert_true(co_test_user_init(&detects, zeroes, BLOCK_PERM_WRITE, all, NULL));
    g_assert_true(co_test_user_init(&filtered, filter, BLOCK_PERM_WRITE, all, NULL));

    g_assert_cmpint(co_try(&from, 0, &to, SIZE - 4096, 4096), ==, 0);
    g_assert_cmpint(memcmp(mem_disk(t.disk)->bytes, mem_disk(t.copy)->bytes + SIZE - 4096, 4096),
                    ==, 0);
    g_assert_true(dirty_bitmap_get(bitmap, SIZE - 4096)); /* I1 */
    g_assert_false(dirty_bitmap_get(bitmap, 0));

    g_assert_cmpint(co_try(&from, SIZE - 4095, &to, 0, 4096), ==, -EIO);
    g_assert_cmpint(co_try(&from, -1, &to, 0, 4096), ==, -EIO);
    g_assert_cmpint(co_try(&from, 0, &to, SIZE - 4095, 4096), ==, -EIO);
    g_assert_cmpint(co_try(&from, 0, &to, -1, 4096), ==, -EIO);
    g_assert_cmpint(co_try(&from, 0, &to, 0, INT64_MAX), ==, -EIO);
    g_assert_cmpint(co_try(&from, 0, &no_writer, 0, 4096), ==, -EPERM);
    g_assert_cmpint(co_try(&from, 0, &detects, 0, 4096), ==, -ENOTSUP);
    g_assert_cmpint(co_try(&from, 0, &filtered, 0, 4096), ==, -ENOTSUP);
    g_assert_cmpuint(t.disk->in_flight + t.copy->in_flight, ==, 0);
    g_assert_null(t.copy->requests.first);

    co_block_user_free(filtered.user);
    co_block_user_free(detects.user);
    co_block_user_free(no_writer.user);
    co_block_user_free(to.user);
    co_block_user_free(from.user);
    co_block_node_unref(filter);
    co_block_node_unref(zeroes);
    co_block_node_unref(t.copy);
    co_block_node_unref(t.disk);
    control_unlock();
    g_free(t.snapshot);
}

/* --- */

static void test_model(void)
{
    run(co_model, NULL);
}

static void test_all(void)
{
    run(co_all, NULL);
}

static void test_fails(void)
{
    run(co_fails, NULL);
}

static void test_is_read(void)
{
    run(co_is_read, NULL);
}

static void test_lost(void)
{
    run(co_lost, NULL);
}

static void test_cancelled(void)
{
    run(co_cancelled, NULL);
}

static void test_serialising(void)
{
    run(co_not_where_others_read, NULL);
}

static void test_gate(void)
{
    run(co_gate, NULL);
}

static void add_tests(void)
{
    g_test_add_func("/block-copy-host/gate", test_gate);
    g_test_add_func("/block-copy-host/all", test_all);
    g_test_add_func("/block-copy-host/fails", test_fails);
    g_test_add_func("/block-copy-host/is-read", test_is_read);
    g_test_add_func("/block-copy-host/lost", test_lost);
    g_test_add_func("/block-copy-host/cancelled", test_cancelled);
    g_test_add_func("/block-copy-host/serialising", test_serialising);
    g_test_add_func("/block-copy-host/model", test_model);
}

int main(int argc, char **argv)
{
    return copy_test_main(argc, argv, add_tests);
}
