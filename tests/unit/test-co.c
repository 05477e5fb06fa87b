/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Coroutines: switches, wakes, moves, sleeps, locks, files, workers. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/co-file.h"
#include "io/co-lock.h"
#include "io/co-parallel.h"
#include "io/worker.h"
#include "tests/unit/loop-util.h"

#define MS 1000000

/* ---- start, yield, wake ---- */

typedef struct Trace {
    GString *text;
    Co *co;
} Trace;

static void co_trace_child(void *opaque)
{
    Trace *trace = opaque;

    trace->co = co_self();
    g_string_append(trace->text, "b");
    co_yield();
    g_string_append(trace->text, "e");
}

static void co_nesting(void *opaque)
{
    g_autoptr(GString) text = g_string_new("a");
    Trace trace = {.text = text};
    Co *self = co_self();

    co_start(co_trace_child, &trace);
    g_assert_true(co_self() == self);
    g_string_append(text, "c");
    co_wake(trace.co);
    g_string_append(text, "d"); /* a wake runs nobody inside the call */
    co_pass();
    g_string_append(text, "f");
    g_assert_cmpstr(text->str, ==, "abcdef");
}

static void test_nesting(void)
{
    g_assert_null(co_self());
    g_assert_null(loop_current());
    run_in_co(co_nesting, NULL);
}

static void co_wake_first(void *opaque)
{
    co_wake(co_self());
    co_wake(co_self());
    co_yield();
    co_pass(); /* takes no wake */
    co_sleep_ns(1);
    co_yield();
}

static void test_wake_first(void)
{
    run_in_co(co_wake_first, NULL);
}

static void co_deep_start(void *opaque)
{
    int *depth = opaque;

    if (++*depth < 2000) {
        co_start(co_deep_start, depth);
    }
    co_pass();
    --*depth;
}

static void co_deep(void *opaque)
{
    int depth = 0;

    co_deep_start(&depth);
    while (depth) {
        co_pass();
    }
}

static void test_deep(void)
{
    run_in_co(co_deep, NULL);
}

/* Wakes from another thread, before and after the yield as it falls. */
typedef struct Race {
    Co *co;
    _Atomic int posted, taken;
} Race;

#define RACES 20000

static void *race_thread(void *opaque)
{
    Race *race = opaque;

    for (int i = 0; i < RACES; i++) {
        while (atomic_load(&race->taken) < i) {
        }
        atomic_fetch_add(&race->posted, 1);
        co_wake(race->co);
    }
    return NULL;
}

static void co_race(void *opaque)
{
    Race race = {.co = co_self()};
    pthread_t thread;

    pthread_create(&thread, NULL, race_thread, &race);
    for (int i = 0; i < RACES; i++) {
        co_yield();
        g_assert_cmpint(atomic_load(&race.posted), ==, i + 1);
        atomic_store(&race.taken, i + 1);
    }
    pthread_join(thread, NULL);
}

static void test_wake_race(void)
{
    run_in_co(co_race, NULL);
}

/* ---- moves ---- */

#define MOVES 10000
#define MOVERS 50

typedef struct Moves {
    Loop *loops[3];
    _Atomic int left;
    Loop *main_loop;
    Co *waiter;
} Moves;

static void co_mover(void *opaque)
{
    Moves *moves = opaque;
    unsigned local = (unsigned)(uintptr_t)co_self();

    for (int i = 0; i < MOVES / MOVERS; i++) {
        Loop *to = moves->loops[(local >> 12 ^ (unsigned)i) % 3];

        co_move(to);
        g_assert_true(loop_current() == to);
        g_assert_cmpint(loop_thread_id(to), ==, gettid());
        if (i % 7 == 0) {
            co_sleep_ns(1000);
        }
    }
    if (atomic_fetch_sub(&moves->left, 1) == 1) {
        co_wake(moves->waiter);
    }
}

static void co_moves(void *opaque)
{
    Moves *moves = opaque;

    moves->waiter = co_self();
    for (int i = 0; i < MOVERS; i++) {
        co_start_on(moves->loops[i % 3], co_mover, moves);
    }
    co_yield();
}

static void test_moves(void)
{
    Moves moves = {.left = MOVERS};

    for (int i = 0; i < 3; i++) {
        moves.loops[i] = loop_new("mover", NULL);
        g_assert_true(loop_start_thread(moves.loops[i], NULL));
    }
    run_in_co(co_moves, &moves);
    for (int i = 0; i < 3; i++) {
        loop_free(moves.loops[i]);
    }
}

/* ---- sleeps ---- */

typedef struct Sleeper {
    CoSleep sleep;
    int64_t deadline;
    int result; /* -1: sleeps */
} Sleeper;

static void co_sleeper(void *opaque)
{
    Sleeper *sleeper = opaque;

    sleeper->result = -1;
    sleeper->result = co_sleep_until(&sleeper->sleep, sleeper->deadline);
}

static void co_sleeps(void *opaque)
{
    Sleeper forever = {.deadline = INT64_MAX}, brief = {.deadline = loop_now_ns() + MS}, past = {0};

    co_sleep_wake(&forever.sleep); /* nobody sleeps: nothing */
    co_start(co_sleeper, &forever);
    co_start(co_sleeper, &brief);
    co_start(co_sleeper, &past);
    co_sleep_ns(2 * MS);
    g_assert_cmpint(brief.result, ==, true);
    g_assert_cmpint(past.result, ==, true);
    g_assert_cmpint(forever.result, ==, -1);
    co_sleep_wake(&forever.sleep);
    co_sleep_wake(&forever.sleep); /* a second one does no harm */
    co_pass();
    g_assert_cmpint(forever.result, ==, false);
}

static void test_sleeps(void)
{
    run_in_co(co_sleeps, NULL);
}

/* ---- locks ---- */

typedef struct Locks {
    CoMutex mutex;
    CoRwLock rw;
    CoSemaphore sem;
    CoQueue queue;
    GString *trace;
    int inside, readers, running;
} Locks;

static void co_mutex_user(void *opaque)
{
    Locks *locks = opaque;
    int me = locks->running++;

    for (int i = 0; i < 3; i++) {
        co_mutex_lock(&locks->mutex);
        g_assert_false(co_mutex_try_lock(&locks->mutex));
        g_assert_cmpint(locks->inside++, ==, 0);
        g_string_append_c(locks->trace, (char)('0' + me));
        co_pass();
        locks->inside--;
        co_mutex_unlock(&locks->mutex);
    }
    locks->running--;
}

static void co_mutexes(void *opaque)
{
    Locks locks = {.trace = g_string_new(NULL)};

    for (int i = 0; i < 4; i++) {
        co_start(co_mutex_user, &locks);
    }
    while (locks.running) {
        co_pass();
    }
    g_assert_cmpstr(locks.trace->str, ==, "012301230123"); /* fair */
    g_string_free(locks.trace, true);
}

static void test_mutex(void)
{
    run_in_co(co_mutexes, NULL);
}

static void co_reader(void *opaque)
{
    Locks *locks = opaque;

    locks->running++;
    co_rwlock_rdlock(&locks->rw);
    g_assert_cmpint(locks->inside, ==, 0);
    locks->readers++;
    g_string_append_c(locks->trace, 'r');
    co_pass();
    locks->readers--;
    co_rwlock_unlock(&locks->rw);
    locks->running--;
}

static void co_writer(void *opaque)
{
    Locks *locks = opaque;

    locks->running++;
    co_rwlock_wrlock(&locks->rw);
    g_assert_cmpint(locks->inside++, ==, 0);
    g_assert_cmpint(locks->readers, ==, 0);
    g_string_append_c(locks->trace, 'w');
    co_pass();
    locks->inside--;
    co_rwlock_unlock(&locks->rw);
    locks->running--;
}

static void co_rwlocks(void *opaque)
{
    Locks locks = {.trace = g_string_new(NULL)};
    const char *order = "rrwrrwwr";

    for (const char *c = order; *c; c++) {
        co_start(*c == 'r' ? co_reader : co_writer, &locks);
    }
    g_assert_cmpint(locks.readers, ==, 2);
    while (locks.running) {
        co_pass();
    }
    g_assert_cmpstr(locks.trace->str, ==, order);
    g_string_free(locks.trace, true);
}

static void test_rwlock(void)
{
    run_in_co(co_rwlocks, NULL);
}

static void co_acquirer(void *opaque)
{
    Locks *locks = opaque;
    int amount = 1 + locks->running++ % 4;

    co_semaphore_acquire(&locks->sem, amount);
    locks->inside += amount;
    g_assert_cmpint(locks->inside, <=, 5);
    co_pass();
    co_pass();
    locks->inside -= amount;
    co_semaphore_release(&locks->sem, amount);
    locks->running--;
}

static void co_semaphores(void *opaque)
{
    Locks locks = {0};

    co_semaphore_init(&locks.sem, 5);
    for (int i = 0; i < 100; i++) {
        co_start(co_acquirer, &locks);
    }
    while (locks.running) {
        co_pass();
    }
    g_assert_cmpint(locks.sem.free, ==, 5);
}

static void test_semaphore(void)
{
    run_in_co(co_semaphores, NULL);
}

static void co_queue_user(void *opaque)
{
    Locks *locks = opaque;
    int me = locks->running++;
    bool woken = co_queue_wait_until(&locks->queue, me == 1 ? loop_now_ns() + MS : INT64_MAX - 1);

    g_assert_cmpint(woken, ==, me != 1);
    g_string_append_c(locks->trace, (char)('0' + me));
    locks->running--;
}

static void co_queues(void *opaque)
{
    Locks locks = {.trace = g_string_new(NULL)};

    g_assert_false(co_queue_wake_one(&locks.queue));
    for (int i = 0; i < 4; i++) {
        co_start(co_queue_user, &locks);
    }
    co_sleep_ns(2 * MS);
    g_assert_cmpstr(locks.trace->str, ==, "1");
    g_assert_true(co_queue_wake_one(&locks.queue));
    co_pass();
    g_assert_cmpstr(locks.trace->str, ==, "10");
    co_queue_wake_all(&locks.queue);
    g_assert_true(co_queue_empty(&locks.queue));
    co_pass();
    g_assert_cmpstr(locks.trace->str, ==, "1023");
    g_string_free(locks.trace, true);
}

static void test_queue(void)
{
    run_in_co(co_queues, NULL);
}

/* Waiters with deadlines at random, wakes at random: each wake ends exactly one wait. */
typedef struct QueueStorm {
    CoQueue queue;
    GRand *rand;
    int running, woken;
} QueueStorm;

static void co_storm_waiter(void *opaque)
{
    QueueStorm *storm = opaque;

    storm->running++;
    for (int i = 0; i < 30; i++) {
        int64_t deadline = loop_now_ns() + g_rand_int_range(storm->rand, -1000, 200000);

        storm->woken += co_queue_wait_until(&storm->queue, deadline);
    }
    storm->running--;
}

static void co_queue_storm(void *opaque)
{
    QueueStorm storm = {.rand = g_rand_new_with_seed(7)};
    int wakes = 0;

    for (int i = 0; i < 30; i++) {
        co_start(co_storm_waiter, &storm);
    }
    while (storm.running) {
        wakes += co_queue_wake_one(&storm.queue);
        co_sleep_ns(g_rand_int_range(storm.rand, 0, 20000));
    }
    g_assert_cmpint(storm.woken, ==, wakes);
    g_assert_true(co_queue_empty(&storm.queue));
    g_rand_free(storm.rand);
}

static void test_queue_storm(void)
{
    run_in_co(co_queue_storm, NULL);
}

/* ---- files ---- */

#define FILE_SIZE (1024 * 1024)

static int open_temp(int flags)
{
    char path[] = "/var/tmp/tidemark-test-XXXXXX";
    int fd = mkostemp(path, flags | O_CLOEXEC);

    unlink(path);
    return fd;
}

static void fill_random(GRand *rand, unsigned char *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        buf[i] = (unsigned char)g_rand_int(rand);
    }
}

/* Random slices of many buffers, against a model in memory. */
static void co_files(void *opaque)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(
        (guint32)atoi(g_getenv("TIDEMARK_SEED") ? g_getenv("TIDEMARK_SEED") : "1"));
    g_autofree unsigned char *model = g_malloc0(FILE_SIZE), *buf = g_malloc0(FILE_SIZE);
    g_autofree struct iovec *iov = g_new(struct iovec, 3000);
    int fd = open_temp(0);

    g_assert_cmpint(ftruncate(fd, FILE_SIZE), ==, 0);
    for (int round = 0; round < 100; round++) {
        unsigned niov = (unsigned)g_rand_int_range(rand, 1, round % 10 ? 40 : 3000);
        size_t at = 0, skip, len;
        IoSlice all, part;
        int64_t offset;

        for (unsigned i = 0; i < niov; i++) {
            iov[i].iov_base = buf + at;
            iov[i].iov_len = (size_t)g_rand_int_range(rand, 0, (gint)(FILE_SIZE / niov));
            at += iov[i].iov_len;
        }
        all = io_slice(iov, niov);
        skip = (size_t)g_rand_int_range(rand, 0, (gint)all.len + 1);
        len = (size_t)g_rand_int_range(rand, 0, (gint)(all.len - skip) + 1);
        part = round % 3 ? io_slice_sub(&all, skip, len) : all;
        offset = g_rand_int_range(rand, 0, (gint)(FILE_SIZE - part.len) + 1);
        if (round % 2) {
            fill_random(rand, buf, at);
            g_assert_cmpint(co_file_write(fd, offset, &part, round % 5 ? 0 : RWF_DSYNC), ==,
                            part.len);
            io_slice_read(&part, model + offset);
        } else {
            g_autofree unsigned char *got = g_malloc(part.len + 1);

            memset(buf, 0xee, FILE_SIZE);
            g_assert_cmpint(co_file_read(fd, offset, &part), ==, part.len);
            io_slice_read(&part, got);
            g_assert_cmpint(memcmp(got, model + offset, part.len), ==, 0);
        }
    }
    g_assert_cmpint(co_file_sync(fd, true), ==, 0);
    g_assert_cmpint(co_file_sync(fd, false), ==, 0);
    close(fd);
}

static void test_files(void)
{
    run_in_co(co_files, NULL);
}

static void co_file_edges(void *opaque)
{
    char buf[8192];
    struct iovec iov = {buf, sizeof(buf)};
    IoSlice slice = io_slice(&iov, 1);
    int fd = open_temp(0);

    g_assert_cmpint(ftruncate(fd, 5000), ==, 0);
    g_assert_cmpint(co_file_read(fd, 0, &slice), ==, 5000);
    g_assert_cmpint(co_file_read(fd, 4999, &slice), ==, 1);
    g_assert_cmpint(co_file_read(fd, 5000, &slice), ==, 0);
    g_assert_cmpint(co_file_fallocate(fd, 0, 0, 100000), ==, 0);
    g_assert_cmpint(lseek(fd, 0, SEEK_END), ==, 100000);
    g_assert_cmpint(co_file_fallocate(fd, 0, 0, 0), ==, -EINVAL);
    close(fd);
    g_assert_cmpint(co_file_read(fd, 0, &slice), ==, -EBADF);
    g_assert_cmpint(co_file_sync(fd, true), ==, -EBADF);
    fd = open("/dev/full", O_RDWR | O_CLOEXEC);
    g_assert_cmpint(co_file_write(fd, 0, &slice, 0), ==, -ENOSPC);
    close(fd);
}

static void test_file_edges(void)
{
    run_in_co(co_file_edges, NULL);
}

static void co_direct(void *opaque)
{
    void *buf = NULL;
    struct iovec iov[2];
    IoSlice slice;
    ssize_t ret;
    int fd = open_temp(O_DIRECT);

    if (fd < 0) {
        g_test_skip("no O_DIRECT in /var/tmp");
        return;
    }
    g_assert_cmpint(posix_memalign(&buf, 4096, 16384), ==, 0);
    memset(buf, 7, 16384);
    iov[0] = (struct iovec){buf, 4096};
    iov[1] = (struct iovec){(char *)buf + 8192, 8192};
    slice = io_slice(iov, 2);
    g_assert_cmpint(co_file_write(fd, 4096, &slice, 0), ==, 12288);
    memset(buf, 0, 16384);
    g_assert_cmpint(co_file_read(fd, 4096, &slice), ==, 12288);
    g_assert_cmpint(((char *)buf)[8192 + 8191], ==, 7);
    /* The end of the file is not aligned. */
    g_assert_cmpint(ftruncate(fd, 5000), ==, 0);
    g_assert_cmpint(co_file_read(fd, 4096, &slice), ==, 904);
    /* What is not aligned gives an error, or is read all the same (tmpfs). */
    iov[0].iov_base = (char *)buf + 1;
    slice = io_slice(iov, 1);
    ret = co_file_read(fd, 1, &slice);
    g_assert_true(ret == -EINVAL || ret == 4096);
    close(fd);
    free(buf);
}

static void test_direct(void)
{
    run_in_co(co_direct, NULL);
}

/* ---- workers ---- */

static int in_worker(void *opaque)
{
    int *number = opaque;

    g_assert_null(loop_current());
    return *number * 2;
}

static void co_worker_user(void *opaque)
{
    int *left = opaque;
    int number = *left;

    for (int i = 0; i < 20; i++) {
        g_assert_cmpint(co_in_worker(in_worker, &number), ==, 2 * number);
    }
    --*left;
}

static void co_workers(void *opaque)
{
    int left = 0;

    for (int i = 0; i < 100; i++) {
        left++;
        co_start(co_worker_user, &left);
    }
    while (left) {
        co_sleep_ns(MS);
    }
}

static void test_workers(void)
{
    run_in_co(co_workers, NULL);
    worker_pool_shutdown();
    run_in_co(co_workers, NULL); /* it can start again */
    worker_pool_shutdown();
}

/* ---- many, and how fast ---- */

#ifdef __SANITIZE_THREAD__ /* whose switches take microseconds */
#define MANY 300
#define N 10000
#else
#define MANY 5000
#define N 1000000
#endif

static void co_busy(void *opaque)
{
    int *left = opaque;
    volatile double number = 1.5; /* FP state survives */

    for (int i = 0; i < 100; i++) {
        double before = number;

        co_pass();
        g_assert_true(number == before);
        number = before + 1;
    }
    --*left;
}

static void co_many(void *opaque)
{
    int left = 0;

    for (int i = 0; i < MANY; i++) {
        left++;
        co_start(co_busy, &left);
    }
    while (left) {
        co_pass();
    }
}

static void test_many(void)
{
    run_in_co(co_many, NULL);
}

static void co_ping(void *opaque)
{
    int *left = opaque;

    while (*left > 0) {
        --*left;
        co_pass();
    }
}

static void co_starter(void *opaque)
{
    ++*(int *)opaque;
}

static void co_speed(void *opaque)
{
    int left = N;
    int64_t start = loop_now_ns();

    co_start(co_ping, &left);
    co_ping(&left);
    co_pass();
    g_test_message("%.1f million passes (two switches each) a second",
                   N * 1e3 / (double)(loop_now_ns() - start));
    start = loop_now_ns();
    for (int i = 0; i < N; i++) {
        co_start(co_starter, &left);
    }
    g_test_message("%.1f million coroutines started and ended a second",
                   N * 1e3 / (double)(loop_now_ns() - start));
}

static void test_speed(void)
{
    run_in_co(co_speed, NULL);
}

/* --- co_in_parallel --- */

typedef struct Shared {
    int left, running, most, fail_at, steps;
} Shared;

static int co_share(void *opaque)
{
    Shared *s = opaque;
    int piece = s->left;

    s->steps++;
    if (piece == 0) {
        return 0;
    }
    s->left--;
    s->running++;
    s->most = MAX(s->most, s->running);
    co_pass();
    s->running--;
    return piece == s->fail_at ? -EIO : 1;
}

static void parallel_main(void *unused)
{
    for (unsigned max = 1; max <= 8; max++) {
        for (int work = 0; work < 20; work++) {
            Shared s = { .left = work, .fail_at = -1 };
            Shared failing = { .left = work, .fail_at = 1 };

            g_assert_cmpint(co_in_parallel(max, co_share, &s), ==, 0);
            g_assert_cmpint(s.left, ==, 0);
            g_assert_cmpint(s.running, ==, 0);
            g_assert_cmpint(s.most, ==, MIN((int)max, work));
            g_assert_cmpint(co_in_parallel(max, co_share, &failing), ==, work ? -EIO : 0);
            g_assert_cmpint(failing.running, ==, 0);
        }
    }
}

/* After an error nobody begins a piece. */
static void parallel_stop_main(void *unused)
{
    Shared s = { .left = 100, .fail_at = 100 };

    g_assert_cmpint(co_in_parallel(4, co_share, &s), ==, -EIO);
    g_assert_cmpint(s.left, >=, 100 - 2 * 4);
}

static void test_parallel(void)
{
    run_in_co(parallel_main, NULL);
    run_in_co(parallel_stop_main, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/co/nesting", test_nesting);
    g_test_add_func("/co/wake-first", test_wake_first);
    g_test_add_func("/co/deep", test_deep);
    g_test_add_func("/co/wake-race", test_wake_race);
    g_test_add_func("/co/moves", test_moves);
    g_test_add_func("/co/sleeps", test_sleeps);
    g_test_add_func("/co/mutex", test_mutex);
    g_test_add_func("/co/rwlock", test_rwlock);
    g_test_add_func("/co/semaphore", test_semaphore);
    g_test_add_func("/co/parallel", test_parallel);
    g_test_add_func("/co/queue", test_queue);
    g_test_add_func("/co/queue-storm", test_queue_storm);
    g_test_add_func("/co/files", test_files);
    g_test_add_func("/co/file-edges", test_file_edges);
    g_test_add_func("/co/direct", test_direct);
    g_test_add_func("/co/workers", test_workers);
    g_test_add_func("/co/many", test_many);
    g_test_add_func("/co/speed", test_speed);
    return g_test_run();
}
