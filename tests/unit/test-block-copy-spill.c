/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What staging has no room for goes to the spill file: against a model, and what a random run
 * seldom meets.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "block/copy/chunk.h"
#include "block/copy/copier.h"
#include "tests/unit/copy-util.h"

#define ROOM_SIZE ((12 << 20) + 12800) /* the last block is cut */

typedef struct SpillTest {
    BlockNode *disk, *copy, *cbw;
    BlockCopy *c;
    uint8_t *snapshot;
    RateLimit limit;
    Progress progress;
    Copier *copier;
    int64_t room_limit_ns;
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
    CbwJobOptions options = { .staging_bytes = 2 << 20, .room_limit_ns = t->room_limit_ns };

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

static void co_spill_give_up(SpillTest *t, int64_t spill_bytes, int fd)
{
    co_spill_begin(t, test_bit(), spill_bytes, fd);
    mem_disk(t->copy)->slow_ns = 1000000000;
    while (!block_copy_stopped(t->c)) {
        copier_pump(t->copier);
        co_sleep_ns(200000);
    }
    g_assert_cmpint(block_copy_error(t->c), ==, -ENOBUFS);
    mem_disk(t->copy)->slow_ns = 0;
    while (copier_in_flight(t->copier)) {
        co_sleep_ns(200000);
    }
    co_spill_end(t);
}

/* Full, and the target does not keep up: the copy fails, the guest does not (I5). */
static void co_spill_full(void *opaque)
{
    SpillTest t = { 0 };

    co_spill_give_up(&t, 1 << 20, -1);
}

static int unwritable(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/*
 * A file that cannot be written is none: the guest waits for the target to make room, far longer
 * than where the file is full (I4), and the copy is right.
 */
static void co_spill_fails(void *opaque)
{
    SpillTest t = { 0 };

    co_spill_begin(&t, GPOINTER_TO_INT(opaque), 64 << 20, unwritable());
    mem_disk(t.copy)->slow_ns = 700000000;
    while (!copier_done(t.copier) && !block_copy_stopped(t.c)) {
        copier_pump(t.copier);
        co_sleep_ns(200000);
        if (t.guest.max_latency_ns > 400000000) {
            mem_disk(t.copy)->slow_ns = 100000;
        }
    }
    g_assert_false(block_copy_stopped(t.c));
    g_assert_cmpint(t.c->spill_error, ==, -EBADF);
    g_assert_cmpint(t.guest.max_latency_ns, >, 400000000);
    g_assert_cmpmem(mem_disk(t.copy)->bytes, ROOM_SIZE, t.snapshot, ROOM_SIZE);
    co_spill_end(&t);
}

/* The same where the target makes no room for as long as the guest may wait. */
static void co_spill_fails_stuck(void *opaque)
{
    SpillTest t = { .room_limit_ns = 300000000 };

    co_spill_give_up(&t, 64 << 20, unwritable());
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

/*
 * Who waits because the file is full goes on when it is not any more; and waits for as long as the
 * user said, if he did.
 */
static void co_spill_room_again(void *opaque)
{
    bool limited = GPOINTER_TO_INT(opaque);
    SpillTest t = { .room_limit_ns = limited ? INT64_C(10) * 1000000000 : 0 };

    co_spill_open(&t, false, 1 << 20, -1);
    co_writer_begin(&t);
    for (int64_t i = 0; i < 3; i++) {
        co_overwrite_mib(mib_of(&t, i));
        co_sleep_ns(20000000);
    }
    g_assert_cmpuint(spill_room(t.c->spill), ==, 0);
    g_assert_cmpuint(staging_used(t.c->staging), ==, staging_capacity(t.c->staging));
    co_start(co_overwrite_mib, mib_of(&t, 3));
    co_sleep_ns(limited ? 800000000 : 20000000);
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

static void co_overwrite_block(SpillTest *t, int64_t block)
{
    co_overwrite(t, block * MEM_PAGE, MEM_PAGE);
}

/* Even blocks to the file, 0 to 12 in its first slots, and 14 far from them. */
static void co_spill_apart(SpillTest *t)
{
    for (int64_t i = 0; i < 130; i++) {
        co_overwrite_block(t, 2 * (i == 7 ? 130 : i));
    }
    co_overwrite_block(t, 14);
    for (int64_t i = 131; !sparse_bitmap_get(spill_held(t->c->spill), 14); i++) {
        co_overwrite_block(t, 2 * i);
        co_sleep_ns(10000);
    }
    while (t->c->spilling) {
        co_sleep_ns(200000);
    }
    for (int64_t block = 0; block < 12; block += 2) {
        g_assert_true(spill_follows(t->c->spill, block, block + 2));
    }
    g_assert_false(spill_follows(t->c->spill, 12, 14));
}

/*
 * I2: a chunk that has fetched some of its blocks when reading another fails reads the source anew,
 * and does not take what the guest wrote for what it fetched.
 */
static void co_spill_read_fails(void *opaque)
{
    g_autofree char *name = NULL;
    g_autofree uint8_t *lost = NULL;
    int fd = g_file_open_tmp("spill-XXXXXX", &name, NULL);
    int64_t kept = 7 * MEM_PAGE, rest;
    SpillTest t = { 0 };
    bool is_read;

    co_spill_open(&t, false, 64 << 20, dup(fd));
    co_writer_begin(&t);
    co_spill_apart(&t);
    rest = lseek(fd, 0, SEEK_END) - kept;
    lost = g_malloc(rest);
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
        int64_t offset = test_range(0, ROOM_SIZE / 512) * 512;

        g_assert_cmpint(co_block_read_buf(t->writer.child, offset, buf, sizeof(buf)), ==, 0);
        co_pass();
    }
    t->readers--;
}

/*
 * Who sleeps until copier_wake_time() is told when that comes nearer, however long the target
 * takes.
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

/* --- the target as a view --- */

/* All blocks of a cluster are saved: the odd ones were zeroes, the even ones are in the file. */
static void co_spill_every_other(SpillTest *t)
{
    for (int64_t block = 1; block < 16; block += 2) {
        memset(mem_disk(t->disk)->bytes + block * MEM_PAGE, 0, MEM_PAGE);
        memset(t->snapshot + block * MEM_PAGE, 0, MEM_PAGE);
    }
    for (int64_t block = 0; !sparse_bitmap_get(spill_held(t->c->spill), 14); block++) {
        co_overwrite_block(t, block);
        co_pass();
    }
    while (t->c->spilling) {
        co_pass();
    }
}

/* What the leaver does with the first cluster. */
static void co_fail_to_leave(SpillTest *t)
{
    Chunk *chunk = chunk_new(t->c, CHUNK_DATA, 0, 65536);

    g_assert_cmpint(co_chunk_take(chunk), ==, 0);
    g_assert_cmpint(co_chunk_write(chunk, 0), ==, -EIO);
    block_copy_stop(t->c, -EIO);
    chunk_free(chunk);
}

typedef struct View {
    TestUser user;
    bool done;
    int ret;
} View;

/* Of the first cluster, but for what the chunk writes first. */
static void co_view_read(void *opaque)
{
    View *view = opaque;
    uint8_t buf[11 * MEM_PAGE];

    view->ret = co_block_read_buf(view->user.child, 4 * MEM_PAGE, buf, sizeof(buf));
    view->done = true;
}

/*
 * I2: while somebody reads the target, and of what he read some is still to be brought from the
 * spill file, the copy fails: a chunk had taken it, and it is nowhere any more.  So the read fails.
 */
static void co_view_breaks(void *opaque)
{
    SpillTest t = { 0 };
    View view = { 0 };

    co_spill_open(&t, false, 64 << 20, -1);
    co_control_lock();
    block_copy_show_in_target(t.c);
    g_assert_true(co_test_user_init(&view.user, t.copy, BLOCK_PERM_CONSISTENT_READ, BLOCK_PERM_ALL,
                                    NULL));
    control_unlock();
    co_writer_begin(&t);
    co_spill_every_other(&t);
    mem_disk(t.copy)->write_errors = 1000;
    co_start(co_view_read, &view);
    while (!t.c->moved.bytes) { /* counted when the target was read, and the file comes next */
        co_pass();
    }
    co_fail_to_leave(&t);
    g_assert_false(view.done);
    while (!view.done) {
        co_pass();
    }
    g_assert_cmpint(view.ret, ==, -EIO);
    mem_disk(t.copy)->write_errors = 0;
    co_control_lock();
    co_block_user_free(view.user.user);
    control_unlock();
    co_writer_end(&t);
    co_spill_close(&t);
}

/*
 * What lies one behind the other in the file is read at once, wherever on the disk it belongs; an
 * extent ends such a run.
 */
static void co_spill_runs(void *opaque)
{
    static const uint64_t order[] = { 90, 7, 8, 1000, 3 };
    unsigned n = G_N_ELEMENTS(order);
    Spill *s = spill_new(2000, MEM_PAGE, 2 << 20, -1);
    g_autofree uint8_t *written = aligned_alloc(MEM_PAGE, SPILL_EXTENT);
    g_autofree uint8_t *read = aligned_alloc(MEM_PAGE, n * MEM_PAGE);
    struct iovec all = { written, SPILL_EXTENT }, pages[G_N_ELEMENTS(order)];
    unsigned in_extent = SPILL_EXTENT / MEM_PAGE;
    IoSlice data = io_slice(&all, 1);
    int64_t slot;

    for (size_t i = 0; i < SPILL_EXTENT; i++) {
        written[i] = test_range(0, 256);
    }
    slot = co_spill_write(s, &data);
    g_assert_cmpint(slot, ==, 0);
    for (unsigned i = 0; i < n; i++) {
        spill_hold(s, order[i], slot + i);
        pages[i] = (struct iovec){ read + (n - 1 - i) * MEM_PAGE, MEM_PAGE };
    }
    for (unsigned i = 1; i < n; i++) {
        g_assert_true(spill_follows(s, order[i - 1], order[i]));
        g_assert_false(spill_follows(s, order[i], order[i - 1]));
    }
    data = io_slice(pages, n);
    g_assert_cmpint(co_spill_read(s, order[0], &data), ==, 0);
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmpmem(pages[i].iov_base, MEM_PAGE, written + i * MEM_PAGE, MEM_PAGE);
    }
    spill_drop(s, 8);
    g_assert_false(spill_follows(s, 7, 8));
    spill_hold(s, 11, in_extent - 1);
    data = io_slice(&all, 1);
    g_assert_cmpint(co_spill_write(s, &data), ==, in_extent);
    spill_hold(s, 12, in_extent);
    g_assert_false(spill_follows(s, 11, 12));
    spill_free(s);
}

/* --- */

static void test_spill(void)
{
    run(co_spill, GINT_TO_POINTER(true));
    run(co_spill, GINT_TO_POINTER(false));
}

static void test_spill_fails(void)
{
    run(co_spill_fails, GINT_TO_POINTER(true));
    run(co_spill_fails, GINT_TO_POINTER(false));
    run(co_spill_fails_stuck, NULL);
}

static void test_spill_last(void)
{
    run(co_spill_last, NULL);
}

static void test_spill_room_again(void)
{
    run(co_spill_room_again, GINT_TO_POINTER(false));
    run(co_spill_room_again, GINT_TO_POINTER(true));
}

static void test_spill_read_fails(void)
{
    run(co_spill_read_fails, NULL);
}

static void test_spill_runs(void)
{
    run(co_spill_runs, NULL);
}

static void test_view_breaks(void)
{
    run(co_view_breaks, NULL);
}

static void test_told_of_wake(void)
{
    run(co_told_of_wake, NULL);
}

static void test_spill_full(void)
{
    run(co_spill_full, NULL);
}

static void add_tests(void)
{
    g_test_add_func("/block-copy/spill", test_spill);
    g_test_add_func("/block-copy/spill-full", test_spill_full);
    g_test_add_func("/block-copy/spill-fails", test_spill_fails);
    g_test_add_func("/block-copy/spill-last", test_spill_last);
    g_test_add_func("/block-copy/spill-room-again", test_spill_room_again);
    g_test_add_func("/block-copy/spill-read-fails", test_spill_read_fails);
    g_test_add_func("/block-copy/view-breaks", test_view_breaks);
    g_test_add_func("/block-copy/spill-runs", test_spill_runs);
    g_test_add_func("/block-copy/told-of-wake", test_told_of_wake);
}

int main(int argc, char **argv)
{
    return copy_test_main(argc, argv, add_tests);
}
