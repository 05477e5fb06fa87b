/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The loop: one thread, one io_uring, the coroutines that live on it.
 *
 * A turn of the loop: go on with those whose operations have ended, run what is ready (calls from
 * other threads, woken coroutines), expired timers, then the deferred functions; submit everything
 * that was queued in one system call, and wait there when nothing is ready.  No function here runs
 * a nested loop.
 *
 * Code outside io/ names neither the ring nor the worker pool, so that a host that forbids
 * io_uring can be served by a second implementation.
 */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Loop Loop;

/*
 * Makes a loop that no thread runs yet.  Where the kernel refuses io_uring the error says so in one
 * clear line (and names kernel.io_uring_disabled and container seccomp profiles as usual causes).
 */
Loop *loop_new(const char *name, GError **errp);

/*
 * How long the loop may stay awake for what will come soon, before it sleeps: at most @max_ns, 0 is
 * never.  The time grows by the factor @grow while waits end within @max_ns, and is divided by
 * @shrink after one that did not (0: by 2, and to nothing).
 */
typedef struct LoopPollOptions {
    int64_t max_ns, grow, shrink;
} LoopPollOptions;

/* Those of a new loop, which suit the machine; others, until a thread runs it. */
LoopPollOptions loop_poll_options(const Loop *loop);
void loop_set_poll_options(Loop *loop, LoopPollOptions options);

/*
 * Runs the loop in the calling thread until loop_stop().  It may be run again, by the same thread
 * (the kernel ties the ring to the first).
 */
void loop_run(Loop *loop);

/* Starts a thread (named for the loop) that runs the loop. */
bool loop_start_thread(Loop *loop, GError **errp);

/*
 * Makes loop_run() return after its current turn (the first one if it does not run yet); what the
 * same thread gave to loop_call() before still runs.  What is under way stays as it is: whoever
 * stops a loop for good has first seen its coroutines end.  Any thread, but no signal handler.
 */
void loop_stop(Loop *loop);

/*
 * Frees a stopped loop (joins its thread first, stopping it).  No coroutine, timer, watch or
 * operation may be left on it.  NULL is accepted.
 */
void loop_free(Loop *loop);

/* The loop that the calling thread runs, or NULL. */
Loop *loop_current(void);

const char *loop_name(const Loop *loop);

/* Thread id of the thread that runs the loop, 0 before it runs. */
int loop_thread_id(const Loop *loop);

/* Do timers of the current loop go off within microseconds?  On old kernels it takes a tick. */
bool loop_has_fine_timers(void);

/* Monotonic clock in nanoseconds. */
int64_t loop_now_ns(void);

typedef void LoopFn(void *opaque);

/*
 * Runs fn(opaque) on @loop's thread, later, outside of coroutines.  Any thread; in order for
 * one caller.
 */
void loop_call(Loop *loop, LoopFn *fn, void *opaque);

/*
 * A function that runs once at the end of the current turn, before the batch is submitted: where
 * replies that became ready in one turn are sent together.  Embedded in its user, queued at most
 * once at a time.  Loop thread only.
 */
typedef struct LoopDeferred {
    LoopFn *fn;
    void *opaque;
    bool queued; /* private */
    struct LoopDeferred *next; /* private */
} LoopDeferred;
void loop_defer(LoopDeferred *deferred);

/*
 * A one-shot timer, embedded in its user.  Loop thread only; fn runs on the loop, not in a
 * coroutine.
 */
typedef struct LoopTimer {
    Loop *loop;          /* NULL while not armed */
    int64_t deadline_ns; /* on loop_now_ns()'s clock */
    LoopFn *fn;
    void *opaque;
    unsigned heap_index; /* private */
} LoopTimer;
void loop_timer_init(LoopTimer *timer, LoopFn *fn, void *opaque);
/* Arms or moves it, on loop_current().  A time that has passed means the next turn. */
void loop_timer_set(LoopTimer *timer, int64_t deadline_ns);
void loop_timer_cancel(LoopTimer *timer);                   /* no-op when not armed */

/*
 * Watches a descriptor that a library owns (libnbd, say).  fn runs on the loop each time one of
 * @events (POLLIN | POLLOUT) is ready (revents may add POLLERR, POLLHUP), until the watch is
 * changed or removed; fn may do both.  A descriptor that cannot be watched is reported once, as
 * POLLERR. The descriptor may be closed once loop_watch_free() has returned.  Loop thread only.
 */
typedef struct LoopWatch LoopWatch;
typedef void LoopWatchFn(void *opaque, int revents);
/* On loop_current(), with no events yet. */
LoopWatch *loop_watch_new(int fd, LoopWatchFn *fn, void *opaque);
void loop_watch_set(LoopWatch *watch, int events);               /* 0 to pause */
void loop_watch_free(LoopWatch *watch);                          /* NULL is accepted */

#endif
