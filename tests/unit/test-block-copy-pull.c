/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pull copies of a live disk against a model: a guest writes to a disk in memory while readers pull
 * its frozen view, or the target of a job with sync=none; with little room, and a scratch that is
 * slow or fails.
 *
 * TIDEMARK_SEED repeats a run, TIDEMARK_ROUNDS sets its length.
 */
#include "tests/unit/copy-util.h"
#include "tests/unit/cow-disk.h"

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
    bool classic;    /* the disk is below the scratch */
    unsigned readers;
    bool stop_readers;
    unsigned spilled; /* reads of a target with sync=none while something was in the spill file */
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
    for (int i = 0; i < rounds(40) / 3; i++) {
        co_pull_round(&t);
    }
    co_control_lock();
    co_block_node_unref(t.disk);
    control_unlock();
    g_free(t.snapshot);
    g_free(t.gone);
}

/* --- sync=none: the target is a view --- */

/* A view with the disk below it shows all of the instant; without it what the guest has written. */
static bool none_shows(const PullTest *t, const uint8_t *disk, int64_t offset, int64_t bytes)
{
    return t->classic || memcmp(disk, t->snapshot + offset, bytes) != 0;
}

static void co_none_read(PullTest *t)
{
    int64_t offset = test_range(0, SIZE / MEM_PAGE) * MEM_PAGE;
    int64_t pages = test_range(1, 30), bytes = MIN(SIZE - offset, pages * MEM_PAGE);
    g_autofree uint8_t *buf = g_malloc(bytes);
    g_autofree uint8_t *before = g_memdup2(mem_disk(t->disk)->bytes + offset, bytes);
    int ret;

    test_user_begin(&t->reader);
    ret = co_block_read_buf(t->reader.child, offset, buf, bytes);
    test_user_end(&t->reader);
    if (!block_node_find("flt")) {
        g_assert_true(t->may_break); /* the job is over, and the view with it */
        return;
    }
    g_assert_true(ret == 0 || (t->may_break && ret == -EIO));
    t->spilled += ret == 0 && copy_spill_in_use(cbw_node_copy(t->cbw));
    for (int64_t at = 0; at < bytes && ret == 0; at += MEM_PAGE) {
        int64_t n = MIN(MEM_PAGE, bytes - at);

        if (none_shows(t, before + at, offset + at, n)) {
            g_assert_cmpint(memcmp(buf + at, t->snapshot + offset + at, n), ==, 0);
        }
    }
}

static void co_none_status(PullTest *t)
{
    int64_t offset = test_range(0, SIZE / MEM_PAGE) * MEM_PAGE;
    bool shown = none_shows(t, mem_disk(t->disk)->bytes + offset, offset, MEM_PAGE);
    BlockStatus status;
    int ret;

    test_user_begin(&t->reader);
    ret = co_block_status(t->reader.child, true, offset, MEM_PAGE, &status);
    test_user_end(&t->reader);
    g_assert_cmpint(ret, ==, 0);
    if (shown && (status.flags & BLOCK_STATUS_ZERO) && !t->may_break) {
        g_assert_true(buffer_is_zero(t->snapshot + offset, status.bytes));
    }
}

/* Reads at several places at once, so that guest's writes come in the middle. */
static void co_none_reader(void *opaque)
{
    PullTest *t = opaque;

    while (!t->stop_readers) {
        if (!t->reader.quiesced) {
            co_none_read(t);
        }
        co_sleep_ns(test_range(0, 100000));
    }
    t->readers--;
}

static void co_none_steps(PullTest *t)
{
    for (int i = 0; i < 100 && job_find("j") && !block_copy_error(cbw_node_copy(t->cbw)); i++) {
        switch (test_range(0, 8)) {
        case 0:
            co_drain_once(test_bit() ? t->disk : t->scratch);
            break;
        case 1:
            co_sleep_ns(test_range(0, 500000));
            break;
        case 2:
            co_none_status(t);
            break;
        default:
            co_none_read(t);
        }
    }
}

static void co_none_cancel(PullTest *t)
{
    g_autofree uint8_t *now = g_memdup2(mem_disk(t->disk)->bytes, SIZE);
    const uint8_t *scratch = t->classic ? cow_disk(t->scratch)->bytes
                                        : mem_disk(t->scratch)->bytes;
    Job *job = job_find("j");

    if (job) {
        job_user_cancel(job, test_bit(), NULL);
    }
    while (job_find("j")) {
        co_sleep_ns(100000);
    }
    for (int64_t at = 0; at < SIZE && !t->may_break; at += MEM_PAGE) {
        int64_t n = MIN(MEM_PAGE, SIZE - at);

        if (memcmp(now + at, t->snapshot + at, n) != 0) {
            g_assert_cmpint(memcmp(scratch + at, t->snapshot + at, n), ==, 0);
        }
    }
}

static void set_errors(PullTest *t, int of_1000)
{
    if (t->classic) {
        cow_disk(t->scratch)->write_errors = of_1000;
    } else {
        mem_disk(t->scratch)->write_errors = of_1000;
    }
}

static void co_none_open(PullTest *t)
{
    int64_t slow_ns = test_bit() ? test_range(0, 3000000) : 0;

    t->classic = test_range(0, 3) > 0;
    if (t->classic) {
        t->scratch = co_open_json("{'driver': 'raw', 'node-name': 'scratch', 'file': 'disk'}");
        cow_disk(t->scratch)->slow_ns = slow_ns;
    } else {
        t->scratch = co_mem_open("scratch", SIZE);
        memset(mem_disk(t->scratch)->bytes, 0xee, SIZE);
        mem_disk(t->scratch)->slow_ns = slow_ns;
    }
    t->may_break = test_range(0, 4) == 0;
    set_errors(t, t->may_break ? 20 : 0);
}

static void co_none_round(PullTest *t)
{
    BlockdevBackup args = {
        .job_id = (char *)"j", .device = (char *)"disk", .target = (char *)"scratch",
        .sync = MIRROR_SYNC_MODE_NONE, .filter_node_name = (char *)"flt",
        .has_staging_size = true, .staging_size = BLOCK_COPY_MIN_STAGING,
    };

    co_control_lock();
    co_none_open(t);
    g_assert_true(co_test_user_init(&t->reader, t->scratch, BLOCK_PERM_CONSISTENT_READ,
                                    BLOCK_PERM_ALL & ~BLOCK_PERM_RESIZE, NULL));
    control_unlock();
    co_start_backup(&args, t->disk, t->snapshot, NULL, NULL);
    t->cbw = block_node_find("flt");
    t->stop_readers = false;
    for (t->readers = 0; t->readers < 4;) {
        t->readers++;
        co_start(co_none_reader, t);
    }
    co_none_steps(t);
    t->stop_readers = true;
    while (t->readers) {
        co_sleep_ns(10000);
    }
    co_none_cancel(t);
    set_errors(t, 0);
    co_control_lock();
    co_block_user_free(t->reader.user);
    co_block_node_unref(t->scratch);
    control_unlock();
}

static void co_none(void *opaque)
{
    PullTest t = { .snapshot = g_malloc(SIZE) };
    Outcome outcome;

    block_driver_register(&cow_driver);
    co_control_lock();
    t.disk = co_mem_open("disk", SIZE);
    qmp_event_set_sink(note_event, &outcome);
    co_guest_start(&t.guest, t.disk, t.disk);
    control_unlock();
    for (int i = 0; i < rounds(40) / 2; i++) {
        co_none_round(&t);
    }
    co_control_lock();
    co_guest_stop(&t.guest); /* none of its requests has failed (I5) */
    co_block_node_unref(t.disk);
    control_unlock();
    qmp_event_set_sink(NULL, NULL);
    g_test_message("%u reads while something was spilled", t.spilled);
    g_assert_cmpuint(t.spilled, >, 0);
    g_free(t.snapshot);
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

/* --- */

static void test_pull(void)
{
    run(co_pull, NULL);
}

static void test_none(void)
{
    run(co_none, NULL);
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

static void add_tests(void)
{
    g_test_add_func("/block-copy-pull/pull", test_pull);
    g_test_add_func("/block-copy-pull/none", test_none);
    g_test_add_func("/block-copy-pull/break-guest-write", test_break_guest_write);
    g_test_add_func("/block-copy-pull/break-snapshot", test_break_snapshot);
    g_test_add_func("/block-copy-pull/timeout", test_timeout);
    g_test_add_func("/block-copy-pull/old-status", test_old_status);
    g_test_add_func("/block-copy-pull/discard-on-the-way", test_discard_on_the_way);
}

int main(int argc, char **argv)
{
    return copy_test_main(argc, argv, add_tests);
}
