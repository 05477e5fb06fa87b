/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stacks and the switch between them; see co-context.h.  The registers are co-switch.S's. */
#include "io/co-context.h"

#include <glib.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(low, high) 0
#define VALGRIND_STACK_DEREGISTER(id) ((void)(id))
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_SIZE (1024 * 1024) /* their frames are larger */
#else
#define STACK_SIZE (256 * 1024) /* only pages that were touched cost memory */
#endif

/*
 * In co-switch.S: saves the registers and *save_sp, goes on at @sp; and the first return
 * address.
 */
void co_switch_stack(void **save_sp, void *sp);
void co_first_frame(void);

/* The frame that co_switch_stack() expects; co_first_frame() calls entry(context). */
#if defined(__x86_64__)
typedef struct FirstFrame {
    uint32_t mxcsr;
    uint16_t fpu_cw, pad;
    void *r15, *r14, *r13;
    void *entry;   /* r12 */
    void *context; /* rbx */
    void *rbp;
    void (*ret)(void);
} FirstFrame;

static FirstFrame first_frame(void (*entry)(void *), void *context)
{
    /* Round to nearest, all exceptions masked: how every process starts. */
    return (FirstFrame){.mxcsr = 0x1f80, .fpu_cw = 0x037f, .entry = (void *)entry,
                        .context = context, .ret = co_first_frame};
}
#elif defined(__aarch64__)
typedef struct FirstFrame {
    void *context; /* x19 */
    void *entry;   /* x20 */
    void *x21_to_x29[9];
    void (*ret)(void); /* x30 */
    double d8_to_d15[8];
} FirstFrame;

static FirstFrame first_frame(void (*entry)(void *), void *context)
{
    return (FirstFrame){.entry = (void *)entry, .context = context, .ret = co_first_frame};
}
#else
#error "co-switch.S knows x86-64 and aarch64 only"
#endif

void co_context_init_thread(CoContext *context)
{
    *context = (CoContext){0};
#ifdef __SANITIZE_ADDRESS__
    pthread_attr_t attr;

    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &context->stack, &context->size);
    pthread_attr_destroy(&attr);
#endif
#ifdef __SANITIZE_THREAD__
    context->fiber = __tsan_get_current_fiber();
#endif
}

/* Below the stack lies a page that cannot be touched: an overflow is a crash, not a corruption. */
static void *map_stack(size_t guard)
{
    void *mapping = mmap(NULL, guard + STACK_SIZE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (mapping == MAP_FAILED) {
        return NULL;
    }
    if (mprotect(mapping, guard, PROT_NONE) < 0) {
        munmap(mapping, guard + STACK_SIZE);
        return NULL;
    }
    return mapping;
}

/* Where a new stack begins. */
static void first_entry(void *opaque)
{
    CoContext *context = opaque;

#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    context->entry(context);
    g_assert_not_reached();
}

CoContext *co_context_new(size_t size, void (*entry)(void *context))
{
    size_t guard = (size_t)getpagesize();
    char *mapping = map_stack(guard), *top;
    CoContext *context;

    if (!mapping) {
        return NULL;
    }
    top = mapping + guard + STACK_SIZE - ((size + 63) & ~(size_t)63);
    context = (CoContext *)top;
    context->mapping = mapping;
    context->stack = mapping + guard;
    context->size = (size_t)(top - (mapping + guard));
    context->entry = entry;
    context->sp = top - sizeof(FirstFrame);
    *(FirstFrame *)context->sp = first_frame(first_entry, context);
    context->valgrind_id = VALGRIND_STACK_REGISTER(context->stack, top);
#ifdef __SANITIZE_THREAD__
    context->fiber = __tsan_create_fiber(0);
#endif
    return context;
}

void co_context_free(CoContext *context)
{
    void *mapping = context->mapping;

    VALGRIND_STACK_DEREGISTER(context->valgrind_id);
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(context->stack, context->size);
#endif
#ifdef __SANITIZE_THREAD__
    __tsan_destroy_fiber(context->fiber);
#endif
    munmap(mapping, (size_t)getpagesize() + STACK_SIZE);
}

void co_context_switch(CoContext *from, CoContext *to, bool ending)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(ending ? NULL : &from->fake_stack, to->stack, to->size);
    if (ending) {
        from->fake_stack = NULL;
    }
#endif
#ifdef __SANITIZE_THREAD__
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
    co_switch_stack(&from->sp, to->sp);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}
