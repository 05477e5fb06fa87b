/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stacks and the switch between them, private to io/; ASAN, TSAN and valgrind are told.
 */
#ifndef IO_CO_CONTEXT_H
#define IO_CO_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

/* A place to switch to: a stack and where its execution stands. */
typedef struct CoContext {
    void *sp;     /* while it does not run */
    void *stack;  /* lowest usable address */
    size_t size;  /* bytes of it */
    void *mapping; /* of a stack that co_context_new() made: with the guard page below */
    void (*entry)(void *context);
    void *fake_stack; /* ASAN's */
    void *fiber;      /* TSAN's */
    unsigned valgrind_id;
} CoContext;

/* Describes the calling thread's own stack. */
void co_context_init_thread(CoContext *context);

/*
 * A stack of its own, with @size bytes at its top that hold the CoContext (first) and what
 * belongs to it: a coroutine needs no other memory.  The first switch to it runs entry(context),
 * which must not return.  NULL when memory is short.
 */
CoContext *co_context_new(size_t size, void (*entry)(void *context));
void co_context_free(CoContext *context);

/*
 * Leaves @from, goes on in @to.  @ending: nothing of what @from has on its stack is needed
 * again.
 */
void co_context_switch(CoContext *from, CoContext *to, bool ending);

#endif
