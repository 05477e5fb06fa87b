/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The loop: calls, deferred functions, timers, watches, its ring, its start and end. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/co-private.h"
#include "io/loop-private.h"
#include "tests/unit/loop-util.h"

#define MS 1000000

static guint32 test_seed(void)
{
    const char *seed = g_getenv("TIDEMARK_SEED");
    guint32 value = seed ? (guint32)strtoul(seed, NULL, 0) : g_random_int();

    g_test_message("TIDEMARK_SEED=%u", value);
    return value;
}

/* ---- calls ---- */

#define CALLERS 4
#define CALLS 20000

typedef struct Caller {
    Loop *loop;
    pthread_t thread;
    int next; /* the number that must come next, on the loop */
    int sent;
} Caller;

typedef struct Numbered {
    Caller *caller;
    int number;
} Numbered;

static void receive_number(void *opaque)
{
    Numbered *message = opaque;

    g_assert_cmpint(message->caller->next++, ==, message->number);
    g_free(message);
}

static void *caller_thread(void *opaque)
{
    Caller *caller = opaque;

    for (int i = 0; i < CALLS; i++) {
        Numbered *message = g_new(Numbered, 1);

        *message = (Numbered){.caller = caller, .number = i};
        loop_call(caller->loop, receive_number, message);
    }
    return NULL;
}

static void test_calls(void)
{
    Loop *loop = loop_new("calls", NULL);
    Caller callers[CALLERS];

    g_assert_cmpstr(loop_name(loop), ==, "calls");
    g_assert_cmpint(loop_thread_id(loop), ==, 0);
    g_assert_true(loop_start_thread(loop, NULL));
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (Caller){.loop = loop};
        pthread_create(&callers[i].thread, NULL, caller_thread, &callers[i]);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
    }
    loop_free(loop); /* all that was called before the stop has run */
    for (int i = 0; i < CALLERS; i++) {
        g_assert_cmpint(callers[i].next, ==, CALLS);
    }
}

/* ---- start and end ---- */

static void stop_now(void *opaque)
{
    loop_stop(loop_current());
}

static void test_stop(void)
{
    Loop *loop = loop_new("stop", NULL);

    loop_stop(loop);
    loop_run(loop); /* the stop came first: one turn */
    for (int i = 0; i < 3; i++) {
        loop_call(loop, stop_now, NULL);
        loop_run(loop); /* again, by the same thread */
    }
    loop_free(loop);
    loop_free(NULL);
    loop_free(loop_new("never run", NULL));
}

/*
 * The rings of a user who is not root may take only so much memory together, and the kernel gives
 * that of a closed one back a while later.
 */
static Loop *new_loop(const char *name)
{
    Loop *loop;

    for (int i = 0; !(loop = loop_new(name, NULL)) && i < 1000; i++) {
        g_usleep(10000);
    }
    g_assert_nonnull(loop);
    return loop;
}

static void test_start_stop(void)
{
    for (int i = 0; i < 200; i++) {
        Loop *loop = new_loop("brief");

        g_assert_true(loop_start_thread(loop, NULL));
        if (i % 2) {
            loop_stop(loop);
        }
        loop_free(loop);
    }
}

/* ---- deferred functions ---- */

typedef struct Deferring {
    LoopDeferred a, b;
    GString *trace;
    int again;
} Deferring;

static void deferred_a(void *opaque)
{
    Deferring *test = opaque;

    g_string_append_c(test->trace, 'a');
    if (test->again-- > 0) {
        loop_defer(&test->a);
    }
}

static void deferred_b(void *opaque)
{
    g_string_append_c(((Deferring *)opaque)->trace, 'b');
}

static void co_deferring(void *opaque)
{
    Deferring test = {.trace = g_string_new(NULL), .again = 2};

    test.a = (LoopDeferred){.fn = deferred_a, .opaque = &test};
    test.b = (LoopDeferred){.fn = deferred_b, .opaque = &test};
    loop_defer(&test.a);
    loop_defer(&test.b);
    loop_defer(&test.a);
    g_assert_cmpstr(test.trace->str, ==, "");
    while (test.trace->len < 4) {
        co_pass();
    }
    g_assert_cmpstr(test.trace->str, ==, "abaa");
    g_string_free(test.trace, true);
}

static void test_deferred(void)
{
    run_in_co(co_deferring, NULL);
}

/* ---- timers ---- */

#define TIMERS 500

typedef struct TimerTest {
    LoopTimer timers[TIMERS];
    int64_t last;
    int fired;
} TimerTest;

static TimerTest *timer_test; /* which LoopTimer's opaque has no room for */

static void timer_fired(void *opaque)
{
    LoopTimer *timer = opaque;

    g_assert_null(timer->loop);
    g_assert_cmpint(timer->deadline_ns, >=, timer_test->last);
    g_assert_cmpint(timer->deadline_ns, <=, loop_now_ns());
    timer_test->last = timer->deadline_ns;
    timer_test->fired++;
}

/* Sets, moves and cancels at random; what is left fires once each, in order. */
static void co_timers(void *opaque)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(test_seed());
    int64_t base = loop_now_ns() + 5 * MS;
    int armed = 0;

    timer_test = g_new0(TimerTest, 1);
    for (int i = 0; i < TIMERS; i++) {
        loop_timer_init(&timer_test->timers[i], timer_fired, &timer_test->timers[i]);
    }
    for (int i = 0; i < 5000; i++) {
        LoopTimer *timer = &timer_test->timers[g_rand_int_range(rand, 0, TIMERS)];

        if (g_rand_int_range(rand, 0, 3)) {
            loop_timer_set(timer, base + g_rand_int_range(rand, 0, 20 * MS));
        } else {
            loop_timer_cancel(timer);
        }
    }
    for (int i = 0; i < TIMERS; i++) {
        armed += timer_test->timers[i].loop != NULL;
    }
    co_sleep_ns(40 * MS);
    g_assert_cmpint(timer_test->fired, ==, armed);
    g_free(timer_test);
}

static void test_timers(void)
{
    run_in_co(co_timers, NULL);
}

/* One that always sets itself to a time that has passed does not stop the loop. */
typedef struct Restless {
    LoopTimer timer;
    int fired;
} Restless;

static void restless_fired(void *opaque)
{
    Restless *restless = opaque;

    restless->fired++;
    loop_timer_set(&restless->timer, 0);
}

static void co_restless(void *opaque)
{
    Restless restless = {0};

    loop_timer_init(&restless.timer, restless_fired, &restless);
    loop_timer_set(&restless.timer, 0);
    while (restless.fired < 10) {
        co_sleep_ns(1); /* its turn comes too */
    }
    loop_timer_cancel(&restless.timer);
    loop_timer_cancel(&restless.timer);
}

static void test_restless(void)
{
    run_in_co(co_restless, NULL);
}

/* ---- watches ---- */

typedef struct Watching {
    LoopWatch *watch;
    int fds[2];
    int reports, revents;
    int free_at, pause_at; /* at which report */
} Watching;

static void on_ready(void *opaque, int revents)
{
    Watching *test = opaque;

    test->reports++;
    test->revents = revents;
    if (test->reports == test->pause_at) {
        loop_watch_set(test->watch, 0);
    }
    if (test->reports == test->free_at) {
        loop_watch_free(test->watch);
        test->watch = NULL;
    }
}

static void co_wait_reports(Watching *test, int count)
{
    while (test->reports < count) {
        co_pass();
    }
}

static void co_watches(void *opaque)
{
    Watching test = {0};
    char byte = 'x';

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, test.fds), ==, 0);
    test.watch = loop_watch_new(test.fds[0], on_ready, &test);
    co_sleep_ns(MS);
    g_assert_cmpint(test.reports, ==, 0); /* no events yet */

    test.pause_at = 3;
    loop_watch_set(test.watch, POLLIN);
    co_sleep_ns(MS);
    g_assert_cmpint(test.reports, ==, 0);
    g_assert_cmpint(write(test.fds[1], &byte, 1), ==, 1);
    co_wait_reports(&test, 3); /* stays ready: again and again */
    g_assert_cmpint(test.revents, ==, POLLIN);
    co_sleep_ns(MS);
    g_assert_cmpint(test.reports, ==, 3);

    g_assert_cmpint(read(test.fds[0], &byte, 1), ==, 1);
    test.pause_at = 4;
    loop_watch_set(test.watch, POLLIN);
    loop_watch_set(test.watch, POLLIN | POLLOUT); /* while a poll is under way */
    co_wait_reports(&test, 4);
    g_assert_cmpint(test.revents, ==, POLLOUT);

    test.free_at = 5;
    loop_watch_set(test.watch, POLLOUT);
    co_wait_reports(&test, 5);
    g_assert_null(test.watch);

    test.watch = loop_watch_new(test.fds[0], on_ready, &test);
    loop_watch_set(test.watch, POLLIN);
    co_pass();
    loop_watch_free(test.watch); /* with a poll under way */
    loop_watch_free(NULL);
    close(test.fds[0]);
    close(test.fds[1]);

    test.watch = loop_watch_new(test.fds[0], on_ready, &test); /* nothing to poll */
    loop_watch_set(test.watch, POLLIN);
    co_wait_reports(&test, 6);
    g_assert_cmpint(test.revents, ==, POLLERR);
    co_sleep_ns(MS);
    g_assert_cmpint(test.reports, ==, 6);
    loop_watch_free(test.watch);
    co_sleep_ns(MS);
}

static void test_watches(void)
{
    run_in_co(co_watches, NULL);
}

static void co_watch_at_end(void *opaque)
{
    int *fds = opaque;
    LoopWatch *watch = loop_watch_new(fds[0], on_ready, NULL);

    loop_watch_set(watch, POLLIN);
    co_sleep_ns(MS);
    loop_watch_free(watch); /* and the loop stops in the same turn */
}

static void test_watch_at_end(void)
{
    int fds[2];

    g_assert_cmpint(pipe(fds), ==, 0);
    run_in_co(co_watch_at_end, fds);
    close(fds[0]);
    close(fds[1]);
}

/* ---- the ring ---- */

#define NOPS 100000

typedef struct Nop {
    RingOp op;
    int *left;
} Nop;

static void nop_done(RingOp *op, int res)
{
    g_assert_cmpint(res, ==, 0);
    --*((Nop *)op)->left;
}

/* Far more at once than the ring has entries for, in either queue. */
static void co_flood(void *opaque)
{
    g_autofree Nop *nops = g_new(Nop, NOPS);
    Ring *ring = &loop_current()->ring;
    int left = NOPS;

    for (int i = 0; i < NOPS; i++) {
        struct io_uring_sqe *sqe = ring_sqe(ring);

        io_uring_prep_nop(sqe);
        nops[i] = (Nop){.op.done = nop_done, .left = &left};
        ring_queue(ring, sqe, &nops[i].op);
    }
    while (left) {
        co_sleep_ns(1);
    }
}

static void test_flood(void)
{
    run_in_co(co_flood, NULL);
}

typedef struct Nops {
    int left, running;
} Nops;

static void co_nops(void *opaque)
{
    Nops *nops = opaque;

    nops->running++;
    while (nops->left > 0) {
        CoOp op;
        struct io_uring_sqe *sqe = co_op_sqe();

        nops->left--;
        io_uring_prep_nop(sqe);
        g_assert_cmpint(co_op_run(&op, sqe), ==, 0);
    }
    nops->running--;
}

static void co_ring_speed(void *opaque)
{
    for (int depth = 1; depth <= 64; depth *= 8) {
        const int n = 200000;
        Nops nops = {.left = n};
        int64_t start = loop_now_ns();

        for (int i = 1; i < depth; i++) {
            co_start(co_nops, &nops);
        }
        co_nops(&nops);
        g_test_message("%.0f thousand no-op requests a second at depth %d",
                       n * 1e6 / (double)(loop_now_ns() - start), depth);
        while (nops.running) {
            co_pass();
        }
    }
}

static void test_ring_speed(void)
{
    run_in_co(co_ring_speed, NULL);
}

/* A poll that never ends, but for the cancel. */
typedef struct Waiting {
    CoOp op;
    int fd, result;
} Waiting;

static void co_poll_for_ever(void *opaque)
{
    Waiting *waiting = opaque;
    struct io_uring_sqe *sqe = co_op_sqe();

    io_uring_prep_poll_add(sqe, waiting->fd, POLLIN);
    waiting->result = co_op_run(&waiting->op, sqe);
}

static void co_cancel(void *opaque)
{
    Waiting waiting = {.result = 1};
    int fds[2];

    g_assert_cmpint(pipe(fds), ==, 0);
    waiting.fd = fds[0];
    co_start(co_poll_for_ever, &waiting);
    co_sleep_ns(MS);
    g_assert_cmpint(waiting.result, ==, 1);
    co_op_cancel(&waiting.op);
    while (waiting.result == 1) {
        co_pass();
    }
    g_assert_cmpint(waiting.result, ==, -ECANCELED);
    close(fds[0]);
    close(fds[1]);
}

static void test_cancel(void)
{
    run_in_co(co_cancel, NULL);
}

/* ---- a kernel that refuses io_uring ---- */

static void forbid_io_uring(int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = G_N_ELEMENTS(code), .filter = code};

    g_assert_cmpint(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
    g_assert_cmpint(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), ==, 0);
}

static void expect_refusal(int error, const char *text)
{
    GError *err = NULL;

    forbid_io_uring(error);
    g_assert_null(loop_new("refused", &err));
    g_assert_nonnull(strstr(err->message, text));
    g_assert_null(strchr(err->message, '\n'));
    g_error_free(err);
}

static void test_refused(void)
{
    static const struct {
        int error;
        const char *text;
    } cases[] = {
        {EPERM, "kernel.io_uring_disabled"},
        {ENOSYS, "seccomp profile such as Docker's default"},
        {ENOMEM, "Could not set up io_uring for loop 'refused': Cannot allocate memory"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        pid_t pid = fork();
        int status;

        if (pid == 0) {
            expect_refusal(cases[i].error, cases[i].text);
            _exit(0);
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/loop/refused", test_refused);
    g_test_add_func("/loop/calls", test_calls);
    g_test_add_func("/loop/stop", test_stop);
    g_test_add_func("/loop/start-stop", test_start_stop);
    g_test_add_func("/loop/deferred", test_deferred);
    g_test_add_func("/loop/timers", test_timers);
    g_test_add_func("/loop/restless", test_restless);
    g_test_add_func("/loop/watches", test_watches);
    g_test_add_func("/loop/watch-at-end", test_watch_at_end);
    g_test_add_func("/loop/flood", test_flood);
    g_test_add_func("/loop/cancel", test_cancel);
    g_test_add_func("/loop/ring-speed", test_ring_speed);
    return g_test_run();
}
