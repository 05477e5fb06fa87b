/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Coroutines; see co.h.
 *
 * A coroutine is entered by a caller (the loop's own stack, or the coroutine that starts it) and
 * goes back to it when it yields.  What must not happen before it has left its stack (the move to
 * another thread, the reuse of the stack) is done by the caller, after the switch.
 */
#include "io/co.h"

#include "io/co-private.h"
#include "io/loop-private.h"

#define MAX_IDLE 128 /* stacks kept for later, for each loop */

typedef enum CoLeave {
    CO_SUSPENDED,
    CO_MOVED,
    CO_ENDED,
} CoLeave;

struct Co {
    CoContext context; /* first: lies at the top of its own stack */
    Loop *loop;
    Co *caller;        /* NULL: the loop's own stack */
    CoLeave leave;     /* why it went back to its caller */
    CoFn *fn;
    void *opaque;
    LoopWork work;     /* its place in a ready list or inbox */
    Co *next_idle;
    _Atomic int wakes; /* wakes that no yield has taken; -1: it yielded and waits for one */
};

static CoContext *context_of(Co *co, Loop *loop)
{
    return co ? &co->context : &loop->context;
}

/* Back to the caller. */
static void leave(Co *co, CoLeave why)
{
    co->leave = why;
    co_context_switch(&co->context, context_of(co->caller, co->loop), why == CO_ENDED);
}

/* The bottom of each stack: used again for one coroutine after the other. */
static void co_main(void *opaque)
{
    Co *co = opaque; /* its context is its first member */

    for (;;) {
        co->fn(co->opaque);
        g_assert(atomic_load(&co->wakes) == 0);
        leave(co, CO_ENDED);
    }
}

static void put_idle(Loop *loop, Co *co)
{
    if (loop->n_idle < MAX_IDLE) {
        co->next_idle = loop->idle;
        loop->idle = co;
        loop->n_idle++;
    } else {
        co_context_free(&co->context);
    }
}

static Co *take_idle(Loop *loop)
{
    Co *co = loop->idle;

    if (co) {
        loop->idle = co->next_idle;
        loop->n_idle--;
    }
    return co;
}

void co_idle_free(Loop *loop)
{
    Co *co;

    while ((co = take_idle(loop))) {
        co_context_free(&co->context);
    }
}

/* Runs @co until it goes back. */
static void enter(Co *co)
{
    Loop *loop = co->loop;
    Co *caller = loop->co;

    co->caller = caller;
    loop->co = co;
    co_context_switch(context_of(caller, loop), &co->context, false);
    loop->co = caller;
    if (co->leave == CO_MOVED) {
        loop->coroutines--;
        loop_post(co->loop, &co->work); /* from here on it is the other thread's */
    } else if (co->leave == CO_ENDED) {
        loop->coroutines--;
        put_idle(loop, co);
    }
}

static void enter_ready(void *opaque)
{
    enter(opaque);
}

static void enter_moved(void *opaque)
{
    Co *co = opaque;

    co->work.fn = enter_ready;
    co->loop->coroutines++;
    enter(co);
}

static Co *new_co(Loop *loop)
{
    Co *co = take_idle(loop);

    if (!co) {
        co = (Co *)co_context_new(sizeof(*co), co_main);
        if (!co) {
            g_error("out of memory for a coroutine's stack");
        }
    }
    co->loop = loop;
    co->work = (LoopWork){.fn = enter_ready, .opaque = co};
    return co;
}

void co_start(CoFn *fn, void *opaque)
{
    Loop *loop = loop_current();
    Co *co = new_co(loop);

    co->fn = fn;
    co->opaque = opaque;
    loop->coroutines++;
    enter(co);
}

typedef struct Start {
    LoopWork work;
    CoFn *fn;
    void *opaque;
} Start;

static void run_start(void *opaque)
{
    Start start = *(Start *)opaque;

    g_free(opaque);
    co_start(start.fn, start.opaque);
}

void co_start_on(Loop *loop, CoFn *fn, void *opaque)
{
    Start *start = g_new(Start, 1);

    *start = (Start){.work = {.fn = run_start, .opaque = start}, .fn = fn, .opaque = opaque};
    loop_post(loop, &start->work);
}

Co *co_self(void)
{
    Loop *loop = loop_current();

    return loop ? loop->co : NULL;
}

Loop *co_loop(const Co *co)
{
    return co->loop;
}

void co_suspend(void)
{
    Co *co = co_self();

    g_assert(co);
    leave(co, CO_SUSPENDED);
}

void co_ready(Co *co)
{
    g_assert(co->loop == loop_current());
    work_list_append(&co->loop->ready, &co->work);
}

void co_resume(Co *co)
{
    if (co_self()) {
        co_ready(co);
    } else {
        g_assert(co->loop == loop_current());
        enter(co);
    }
}

void co_yield(void)
{
    Co *co = co_self();

    g_assert(co);
    if (atomic_fetch_sub(&co->wakes, 1) == 0) {
        /* A wake from now on puts it on this thread's list, so it cannot run before it has left. */
        leave(co, CO_SUSPENDED);
    }
}

void co_wake(Co *co)
{
    if (atomic_fetch_add(&co->wakes, 1) == -1) {
        loop_post(co->loop, &co->work);
    }
}

void co_pass(void)
{
    co_ready(co_self());
    co_suspend();
}

void co_move(Loop *loop)
{
    Co *co = co_self();
    Co *caller = co->caller;
    Loop *old = co->loop;

    g_assert(old == loop_current());
    if (loop == old) {
        return;
    }
    co->work.fn = enter_moved;
    co->loop = loop;
    co->leave = CO_MOVED;
    co_context_switch(&co->context, context_of(caller, old), false);
}
