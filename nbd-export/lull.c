/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How long a session's reader leaves its client alone; see lull.h. */
#include "nbd-export/lull.h"

#include <glib.h>

/* A timer cannot do less to any purpose; much more would be felt by who waits for one request. */
#define MIN_NS 10000
#define MAX_NS 40000
#define STEP_NS 1000
/* Clients with fewer requests under way wait. */
#define MIN_BATCH 8
#define BARRED 1000

static void learn(NbdLull *lull, bool behind)
{
    if (behind) {
        lull->ns = MIN(lull->ns + STEP_NS, MAX_NS);
        return;
    }
    lull->ns /= 2;
    /* All of the client's requests were in that batch. */
    if (lull->batch < MIN_BATCH) {
        lull->barred = BARRED;
    }
}

int64_t nbd_lull_next(NbdLull *lull, bool behind)
{
    if (lull->taken) {
        learn(lull, behind);
    }
    lull->ns = MAX(lull->ns, MIN_NS);
    lull->batch = 0;
    lull->taken = behind && lull->barred == 0;
    if (lull->barred) {
        lull->barred--;
    }
    return lull->taken ? lull->ns : 0;
}

void nbd_lull_skip(NbdLull *lull)
{
    lull->taken = false;
    lull->batch = 0;
}
