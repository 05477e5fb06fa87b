/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The turn of the loop, its thread, and calls to it; see loop.h. */
#include "io/loop.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "io/co-private.h"
#include "io/loop-private.h"
#include "io/thread.h"
#include "util/error.h"

/*
 * Wakes that follow from one another are run in one turn, so that what they submit goes in one
 * batch; but those who only pass on and on must not keep the loop from its ring.
 */
#define MAX_ROUNDS 16

static __thread Loop *current;

/*
 * Never inlined: a coroutine may go on in another thread, so a compiler must not keep the address
 * of a thread's variable across a yield.
 */
__attribute__((noinline)) Loop *loop_current(void)
{
    __asm__ volatile("");
    return current;
}

static void set_ring_error(GError **errp, const char *name, int error)
{
    if (error == EPERM || error == ENOSYS || error == EACCES) {
        tm_error_set_errno(errp, error,
                           "The kernel refuses io_uring (usual causes: kernel.io_uring_disabled, a "
                           "container's seccomp profile such as Docker's default, or Linux before "
                           "5.11)");
    } else {
        tm_error_set_errno(errp, error, "Could not set up io_uring for loop '%s'", name);
    }
}

Loop *loop_new(const char *name, GError **errp)
{
    g_autofree Loop *loop = g_new0(Loop, 1);
    int ret = ring_init(&loop->ring);

    if (ret < 0) {
        set_ring_error(errp, name, -ret);
        return NULL;
    }
    ret = inbox_init(&loop->inbox);
    if (ret < 0) {
        ring_exit(&loop->ring);
        tm_error_set_errno(errp, -ret, "Could not create an eventfd for loop '%s'", name);
        return NULL;
    }
    loop->name = g_strdup(name);
    loop->deferred_tail = &loop->deferred;
    loop_poll_init(&loop->poll);
    return g_steal_pointer(&loop);
}

static void run_works(LoopWorkList *list)
{
    LoopWork *work;

    while ((work = work_list_pop(list))) {
        work->fn(work->opaque);
    }
}

static void run_ready(Loop *loop)
{
    for (int round = 0; round < MAX_ROUNDS; round++) {
        LoopWorkList now = {0};

        inbox_take(&loop->inbox, &loop->ready);
        work_list_splice(&now, &loop->ready);
        if (!now.head) {
            return;
        }
        run_works(&now);
    }
}

static void run_deferred(Loop *loop)
{
    LoopDeferred *list = loop->deferred;

    loop->deferred = NULL;
    loop->deferred_tail = &loop->deferred;
    while (list) {
        LoopDeferred *deferred = list;

        list = deferred->next;
        deferred->queued = false;
        deferred->fn(deferred->opaque);
    }
}

/* How long nothing will be ready, for all this thread knows. */
static int64_t idle_ns(const Loop *loop)
{
    int64_t next = loop_timers_next(loop);

    if (loop->ready.head || loop->deferred || atomic_load(&loop->stop)) {
        return 0;
    }
    return next == INT64_MAX ? INT64_MAX : MAX(next - loop_now_ns(), 0);
}

/*
 * Submits, and waits for at most @wait_ns; the first part of it awake (io/loop-poll.h).  What the
 * kernel does within a submission, such as a send, is work: nothing is learned from a wait that
 * cannot be told from it.
 */
static void wait_for_news(Loop *loop, int64_t wait_ns)
{
    int64_t begin = loop_now_ns(), waited_ns = 0;
    int64_t awake_ns = loop_poll_ns(&loop->poll, begin, wait_ns);
    bool only_waits;

    if (awake_ns > 0) {
        ring_submit(&loop->ring, 0);
        begin = loop_now_ns();
    }
    only_waits = !ring_has_queued(&loop->ring);
    while (waited_ns < awake_ns && !ring_has_news(&loop->ring)) {
        waited_ns = loop_now_ns() - begin;
    }
    ring_submit(&loop->ring, wait_ns == INT64_MAX ? INT64_MAX : wait_ns - waited_ns);
    if (only_waits) {
        loop_poll_learn(&loop->poll, wait_ns, loop_now_ns() - begin);
    }
}

static void submit_and_wait(Loop *loop)
{
    int64_t wait_ns = idle_ns(loop);

    if (wait_ns > 0 && inbox_sleep(&loop->inbox)) {
        /* A stop that came before inbox_sleep() woke nobody: look again. */
        wait_for_news(loop, atomic_load(&loop->stop) ? 0 : wait_ns);
        inbox_awake(&loop->inbox);
    } else {
        ring_submit(&loop->ring, 0);
    }
}

static void turn(Loop *loop)
{
    ring_dispatch(&loop->ring);
    run_ready(loop);
    loop_timers_run(loop);
    run_deferred(loop);
    submit_and_wait(loop);
}

static void enter_thread(Loop *loop)
{
    int ret = ring_attach(&loop->ring);

    if (ret < 0) {
        g_error("loop '%s' cannot use its ring in this thread: %s", loop->name, g_strerror(-ret));
    }
    g_assert(!current);
    current = loop;
    atomic_store(&loop->thread_id, gettid());
    loop_poll_open(&loop->poll);
    co_context_init_thread(&loop->context);
    inbox_open(&loop->inbox, &loop->ring);
}

static void leave_thread(Loop *loop)
{
    while (loop->dying_watches) {
        ring_submit(&loop->ring, INT64_MAX);
        ring_dispatch(&loop->ring);
    }
    inbox_close(&loop->inbox);
    co_idle_free(loop);
    loop_poll_close(&loop->poll);
    ring_detach(&loop->ring);
    atomic_store(&loop->thread_id, 0);
    current = NULL;
}

void loop_run(Loop *loop)
{
    enter_thread(loop);
    do {
        turn(loop);
    } while (!atomic_load(&loop->stop));
    /* What was called before loop_stop() by the same thread still runs. */
    ring_dispatch(&loop->ring);
    run_ready(loop);
    run_deferred(loop);
    atomic_store(&loop->stop, false);
    leave_thread(loop);
}

LoopPollOptions loop_poll_options(const Loop *loop)
{
    return loop->poll.options;
}

void loop_set_poll_options(Loop *loop, LoopPollOptions options)
{
    g_assert(!loop->thread_id);
    loop->poll.options = options;
}

static void *thread_main(void *opaque)
{
    loop_run(opaque);
    return NULL;
}

bool loop_start_thread(Loop *loop, GError **errp)
{
    int ret = thread_start(&loop->thread, loop->name, thread_main, loop);

    if (ret < 0) {
        return tm_error_set_errno(errp, -ret, "Could not start a thread for loop '%s'", loop->name);
    }
    loop->has_thread = true;
    return true;
}

void loop_stop(Loop *loop)
{
    atomic_store(&loop->stop, true);
    inbox_poke(&loop->inbox);
}

void loop_free(Loop *loop)
{
    if (!loop) {
        return;
    }
    if (loop->has_thread) {
        loop_stop(loop);
        pthread_join(loop->thread, NULL);
    }
    g_assert(!loop->thread_id);
    g_assert(!loop->coroutines && !loop->n_timers && !loop->watches);
    g_assert(!loop->ready.head && !loop->deferred);
    inbox_destroy(&loop->inbox);
    ring_exit(&loop->ring);
    g_free(loop->timers);
    g_free(loop->name);
    g_free(loop);
}

const char *loop_name(const Loop *loop)
{
    return loop->name;
}

int loop_thread_id(const Loop *loop)
{
    return atomic_load(&loop->thread_id);
}

bool loop_has_fine_timers(void)
{
    return loop_current()->ring.has_fine_waits;
}

int64_t loop_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void loop_post(Loop *loop, LoopWork *work)
{
    if (loop == loop_current()) {
        work_list_append(&loop->ready, work);
    } else {
        inbox_put(&loop->inbox, work);
    }
}

typedef struct Call {
    LoopWork work;
    LoopFn *fn;
    void *opaque;
} Call;

static void run_call(void *opaque)
{
    Call call = *(Call *)opaque;

    g_free(opaque);
    call.fn(call.opaque);
}

void loop_call(Loop *loop, LoopFn *fn, void *opaque)
{
    Call *call = g_new(Call, 1);

    *call = (Call){.work = {.fn = run_call, .opaque = call}, .fn = fn, .opaque = opaque};
    loop_post(loop, &call->work);
}

void loop_defer(LoopDeferred *deferred)
{
    Loop *loop = loop_current();

    if (deferred->queued) {
        return;
    }
    deferred->queued = true;
    deferred->next = NULL;
    *loop->deferred_tail = deferred;
    loop->deferred_tail = &deferred->next;
}
