/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the fuzz targets share: a coroutine on a loop that lives as long as the process, and choices
 * drawn from the input, so that an input says all that happens.
 *
 * A target has the interface of libFuzzer.  Built without it, random-main.c is its main().
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "block/control.h"
#include "io/co.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Choices that depend on nothing but the input. */
typedef struct FuzzDice {
    uint64_t state;
} FuzzDice;

static inline FuzzDice fuzz_dice(const uint8_t *data, size_t size)
{
    FuzzDice dice = {0xcbf29ce484222325};

    for (size_t i = 0; i < size; i++) {
        dice.state = (dice.state ^ data[i]) * 0x100000001b3;
    }
    return dice;
}

/* 0 to n - 1. */
static inline uint64_t fuzz_pick(FuzzDice *dice, uint64_t n)
{
    dice->state = dice->state * 6364136223846793005u + 1442695040888963407u;
    return (dice->state >> 16) % n;
}

typedef struct FuzzRun {
    Loop *loop;
    CoFn *fn;
    void *opaque;
} FuzzRun;

static inline void fuzz_run_main(void *opaque)
{
    FuzzRun *run = opaque;

    run->fn(run->opaque);
    loop_stop(run->loop);
}

/* Loop 0, made once: a ring for each input would be most of the work. */
static inline Loop *fuzz_loop_new(void)
{
    GError *error = NULL;
    Loop *loop = loop_new("fuzz", &error);

    if (!loop) {
        g_error("%s", error->message);
    }
    control_init(loop);
    return loop;
}

/* Returns when fn(opaque), which may yield, has returned. */
static inline void fuzz_in_co(Loop *loop, CoFn *fn, void *opaque)
{
    FuzzRun run = {.loop = loop, .fn = fn, .opaque = opaque};

    co_start_on(loop, fuzz_run_main, &run);
    loop_run(loop);
}

#endif
