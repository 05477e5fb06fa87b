/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Work shared by coroutines; see co-parallel.h. */
#include "io/co-parallel.h"

#include "io/co-lock.h"

/* On the stack of the caller, who leaves last. */
typedef struct Parallel {
    CoStepFn *co_step;
    void *opaque;
    unsigned running;
    bool no_more;
    int ret;
    CoQueue ended;
} Parallel;

static void co_run(void *opaque)
{
    Parallel *p = opaque;

    while (!p->no_more) {
        int ret = p->co_step(p->opaque);

        p->no_more |= ret <= 0;
        if (ret < 0 && p->ret == 0) {
            p->ret = ret;
        }
    }
    p->running--;
    co_queue_wake_all(&p->ended);
}

int co_in_parallel(unsigned max, CoStepFn *co_step, void *opaque)
{
    Parallel p = { .co_step = co_step, .opaque = opaque, .running = 1 };

    for (unsigned i = 1; i < max && !p.no_more; i++) {
        p.running++;
        co_start(co_run, &p);
    }
    co_run(&p);
    while (p.running > 0) {
        co_queue_wait(&p.ended);
    }
    return p.ret;
}
