/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long a loop looks for news before it sleeps: private to io/.
 *
 * To sleep and to be woken costs the sleeper, and whoever wakes it, more than a short wait does; in
 * a virtual machine each is an exit.  So a loop whose waits were short of late stays awake for the
 * next one.  One whose waits are longer than the limit sleeps at once: an idle loop costs nothing.
 * So does one that has to wait for a processor: others have work for it.
 */
#ifndef IO_LOOP_POLL_H
#define IO_LOOP_POLL_H

#include "io/loop.h"

typedef struct LoopPoll {
    LoopPollOptions options;
    int64_t ns;    /* how long to look next time, if there are processors to spare */
    int schedstat; /* of the loop's thread, or -1 */
    int64_t checked_ns, queued_ns; /* when that was read, and how long the thread had waited then */
    bool crowded;
} LoopPoll;

/* What suits the machine. */
void loop_poll_init(LoopPoll *poll);

/* The loop gets a thread, the calling one, and gives it back. */
void loop_poll_open(LoopPoll *poll);
void loop_poll_close(LoopPoll *poll);

/* How long to look in a wait that begins now and is for @wait_ns at most. */
int64_t loop_poll_ns(LoopPoll *poll, int64_t now_ns, int64_t wait_ns);

/* Learns from a wait for @wait_ns at most, of which a first part may have been spent awake. */
void loop_poll_learn(LoopPoll *poll, int64_t wait_ns, int64_t waited_ns);

#endif
