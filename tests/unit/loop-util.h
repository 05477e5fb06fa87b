/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests: runs a test's body in a coroutine on a fresh loop, in the calling thread. */
#ifndef TESTS_UNIT_LOOP_UTIL_H
#define TESTS_UNIT_LOOP_UTIL_H

#include "io/co.h"

typedef struct TestRun {
    Loop *loop;
    CoFn *fn;
    void *opaque;
} TestRun;

static inline void test_run_main(void *opaque)
{
    TestRun *run = opaque;

    run->fn(run->opaque);
    loop_stop(run->loop);
}

/* Returns when fn(opaque), which may yield, has; asserts that it left nothing on the loop. */
static inline void run_in_co(CoFn *fn, void *opaque)
{
    GError *error = NULL;
    TestRun run = {.loop = loop_new("test", &error), .fn = fn, .opaque = opaque};

    g_assert_no_error(error);
    co_start_on(run.loop, test_run_main, &run);
    loop_run(run.loop);
    loop_free(run.loop);
}

#endif
