/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How long a loop stays awake: what it learns from its waits, and that news find it awake, too. */
#include "io/loop-poll.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "io/loop-private.h"
#include "tests/unit/loop-util.h"

static LoopPoll poll_with(int64_t max_ns, int64_t grow, int64_t shrink)
{
    return (LoopPoll){.options = {.max_ns = max_ns, .grow = grow, .shrink = shrink},
                      .schedstat = -1};
}

static void test_grows(void)
{
    LoopPoll poll = poll_with(10000, 0, 0);
    const int64_t expect[] = {4000, 8000, 10000, 10000};

    for (unsigned i = 0; i < G_N_ELEMENTS(expect); i++) {
        loop_poll_learn(&poll, INT64_MAX, 10000);
        g_assert_cmpint(poll.ns, ==, expect[i]);
    }
    loop_poll_learn(&poll, INT64_MAX, 3000); /* it was long enough */
    g_assert_cmpint(poll.ns, ==, 10000);
    loop_poll_learn(&poll, INT64_MAX, 10001);
    g_assert_cmpint(poll.ns, ==, 0);
}

static void test_options(void)
{
    LoopPoll poll = poll_with(100000, 3, 4);

    loop_poll_learn(&poll, INT64_MAX, 5000);
    loop_poll_learn(&poll, INT64_MAX, 5000);
    g_assert_cmpint(poll.ns, ==, 12000);
    loop_poll_learn(&poll, INT64_MAX, 1000000);
    g_assert_cmpint(poll.ns, ==, 3000);

    poll = poll_with(2000, 0, 0);
    loop_poll_learn(&poll, INT64_MAX, 1000);
    g_assert_cmpint(poll.ns, ==, 2000);

    poll = poll_with(0, 0, 0);
    loop_poll_learn(&poll, INT64_MAX, 1);
    g_assert_cmpint(poll.ns, ==, 0);

    /* No overflow, whatever users ask for. */
    poll = poll_with(INT64_MAX, INT64_MAX, 0);
    loop_poll_learn(&poll, INT64_MAX, 5000);
    loop_poll_learn(&poll, INT64_MAX, 5000);
    g_assert_cmpint(poll.ns, ==, INT64_MAX);
}

#define MS INT64_C(1000000)

/* A wait that its own limit ends, such as a timer's, teaches nothing; a short one is for a nap. */
static void test_limits(void)
{
    LoopPoll poll = poll_with(10000, 0, 0);

    poll.ns = 8000;
    loop_poll_learn(&poll, 50000, 50001);
    g_assert_cmpint(poll.ns, ==, 8000);
    g_assert_cmpint(loop_poll_ns(&poll, 0, 50000), ==, 0);
    g_assert_cmpint(loop_poll_ns(&poll, 0, 1000000), ==, 8000);
    poll.ns = 2000000;
    g_assert_cmpint(loop_poll_ns(&poll, 0, 1000000), ==, 1000000);
}

/* What the kernel says of the thread: it has run, and has waited for a processor. */
static void set_schedstat(LoopPoll *poll, const char *text)
{
    g_assert_cmpint(ftruncate(poll->schedstat, 0), ==, 0);
    g_assert_cmpint(pwrite(poll->schedstat, text, strlen(text), 0), ==, (ssize_t)strlen(text));
}

static void test_crowded(void)
{
    LoopPoll poll = poll_with(10000, 0, 0);
    int64_t now = 1000 * MS;

    poll.ns = 8000;
    poll.schedstat = memfd_create("schedstat", 0);
    set_schedstat(&poll, "500000000 90000000 77\n");
    g_assert_cmpint(loop_poll_ns(&poll, now, INT64_MAX), ==, 8000);
    set_schedstat(&poll, "505000000 91100000 78\n");
    g_assert_cmpint(loop_poll_ns(&poll, now + 9 * MS, INT64_MAX), ==,
                    8000); /* it does not look so often */
    g_assert_cmpint(loop_poll_ns(&poll, now + 10 * MS, INT64_MAX), ==, 0);
    g_assert_cmpint(loop_poll_ns(&poll, now + 19 * MS, INT64_MAX), ==, 0);
    set_schedstat(&poll, "510000000 92000000 79\n");
    g_assert_cmpint(loop_poll_ns(&poll, now + 20 * MS, INT64_MAX), ==, 8000);
    loop_poll_close(&poll);
    g_assert_cmpint(poll.schedstat, ==, -1);
}

/* A kernel that does not tell. */
static void test_no_schedstat(void)
{
    LoopPoll poll = poll_with(10000, 0, 0);

    poll.ns = 8000;
    g_assert_cmpint(loop_poll_ns(&poll, 100 * MS, INT64_MAX), ==, 8000);
    poll.schedstat = memfd_create("schedstat", 0);
    set_schedstat(&poll, "rubbish\n");
    g_assert_cmpint(loop_poll_ns(&poll, 200 * MS, INT64_MAX), ==, 8000);
    loop_poll_close(&poll);
}

static void test_real_schedstat(void)
{
    LoopPoll poll;

    loop_poll_init(&poll);
    loop_poll_open(&poll);
    poll.ns = 1;
    loop_poll_ns(&poll, loop_now_ns(), INT64_MAX);
    if (poll.queued_ns == 0) {
        g_test_skip("this kernel does not tell how long a thread waits for a processor");
    } else {
        g_assert_cmpint(poll.queued_ns, >, 0);
    }
    loop_poll_close(&poll);
}

/* A loop that would stay awake for ever: calls of other threads, timers and the end come
 * through. */
static void on_call(void *opaque)
{
    atomic_fetch_add((_Atomic int *)opaque, 1);
}

static void wait_for(_Atomic int *count, int value)
{
    while (atomic_load(count) < value) {
        g_usleep(100);
    }
}

/* A loop that slept would not use its processor, however long one looks. */
static void check_awake(const Loop *loop)
{
    int64_t give_up = loop_now_ns() + 30000 * MS;
    struct timespec cpu = {0};
    clockid_t clock;

    g_assert_cmpint(pthread_getcpuclockid(loop->thread, &clock), ==, 0);
    while (cpu.tv_sec == 0 && cpu.tv_nsec < 100 * MS) {
        g_assert_cmpint(loop_now_ns(), <, give_up);
        g_usleep(1000);
        clock_gettime(clock, &cpu);
    }
}

static void on_start(void *opaque)
{
    loop_timer_set(opaque, loop_now_ns() + 1000000);
}

static void test_awake(void)
{
    Loop *loop = loop_new("awake", NULL);
    _Atomic int calls = 0, timers = 0;
    LoopTimer timer;

    g_assert_cmpint(loop_poll_options(loop).grow, ==, 0);
    loop->poll.checked_ns = INT64_MAX; /* it never looks whether the machine is crowded */
    loop_set_poll_options(loop, (LoopPollOptions){.max_ns = INT64_MAX});
    loop->poll.ns = loop->poll.options.max_ns;
    g_assert_true(loop_start_thread(loop, NULL));
    for (int i = 1; i <= 100; i++) {
        loop_call(loop, on_call, &calls);
        wait_for(&calls, i);
    }
    check_awake(loop);
    loop_timer_init(&timer, on_call, &timers);
    loop_call(loop, on_start, &timer);
    wait_for(&timers, 1);
    loop_free(loop);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/loop-poll/grows", test_grows);
    g_test_add_func("/loop-poll/options", test_options);
    g_test_add_func("/loop-poll/limits", test_limits);
    g_test_add_func("/loop-poll/crowded", test_crowded);
    g_test_add_func("/loop-poll/no-schedstat", test_no_schedstat);
    g_test_add_func("/loop-poll/real-schedstat", test_real_schedstat);
    g_test_add_func("/loop-poll/awake", test_awake);
    return g_test_run();
}
