/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stackful coroutines.
 *
 * A coroutine runs on one loop at a time, from one co_yield() (or I/O call that yields) to the
 * next.  Stacks are pooled, guarded by an unmapped page, and known to ASAN, TSAN and valgrind;
 * switching makes no system call.  A function that may yield starts with co_ and runs only in a
 * coroutine.
 */
#ifndef IO_CO_H
#define IO_CO_H

#include "io/loop.h"

typedef struct Co Co;
typedef void CoFn(void *opaque);

/*
 * Starts fn(opaque) in a new coroutine on the current loop; runs it at once, up to its first
 * yield.
 */
void co_start(CoFn *fn, void *opaque);

/* The same on any loop, from any thread; it begins later, never inside this call. */
void co_start_on(Loop *loop, CoFn *fn, void *opaque);

/* The running coroutine, or NULL outside of one. */
Co *co_self(void);

/*
 * Stops the running coroutine until co_wake().  Each yield takes exactly one wake; a wake that
 * comes first (from another thread) makes the next yield return at once.  Wakes are counted, and
 * only co_yield() takes them: one that comes during an I/O call, a lock or a sleep waits for the
 * yield.  All must be taken before the coroutine ends.
 */
void co_yield(void);

/* Makes @co ready on its loop.  Any thread.  Runs in a later step, never inside this call. */
void co_wake(Co *co);

/* Lets others that are ready run, then goes on. */
void co_pass(void);

/* Goes on on another loop's thread.  The caller holds no lock, watch or timer of the old loop. */
void co_move(Loop *loop);

/*
 * A sleep that can be ended early.  co_sleep_until() returns true when the deadline (on
 * loop_now_ns()'s clock; INT64_MAX means none) passed, false when co_sleep_wake() ended it.
 * co_sleep_wake() on one that nobody sleeps in does nothing.  One sleeper at a time, one loop.
 * Zero-initialise; must stay in place until co_sleep_until() has returned.
 */
typedef struct CoSleep {
    Co *co;
    bool woken;
} CoSleep;
bool co_sleep_until(CoSleep *sleep, int64_t deadline_ns);
void co_sleep_wake(CoSleep *sleep);

/* A plain sleep. */
void co_sleep_ns(int64_t ns);

#endif
