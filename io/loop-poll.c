/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How long a loop looks for news before it sleeps; see loop-poll.h. */
#include "io/loop-poll.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* As in QEMU: a client with one request at a time comes back within it (docs/performance.rst). */
#define DEFAULT_MAX_NS 32768
#define FIRST_NS 4000
#define DEFAULT_GROW 2
/* Looking whether the machine is crowded takes a system call. */
#define CHECK_NS 10000000
/* It is where the thread waits for a processor for more than this part of the time. */
#define CROWDED 10
/* A wait with such a near limit is a nap, such as a reader's lull: it is slept. */
#define NAP_NS 100000

/* On a single processor nobody could bring news to who keeps it busy. */
void loop_poll_init(LoopPoll *poll)
{
    *poll = (LoopPoll){.options.max_ns = g_get_num_processors() > 1 ? DEFAULT_MAX_NS : 0,
                       .schedstat = -1};
}

void loop_poll_open(LoopPoll *poll)
{
    poll->schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
}

void loop_poll_close(LoopPoll *poll)
{
    if (poll->schedstat >= 0) {
        close(poll->schedstat);
        poll->schedstat = -1;
    }
}

/* How long the thread has been ready to run and had no processor; Documentation/scheduler/
 * sched-stats.rst of Linux.  Where the kernel does not tell: never. */
static int64_t time_in_queue(const LoopPoll *poll)
{
    char text[80];
    ssize_t len = pread(poll->schedstat, text, sizeof(text) - 1, 0);
    int64_t ran, queued;

    text[MAX(len, 0)] = '\0';
    return sscanf(text, "%" G_GINT64_FORMAT " %" G_GINT64_FORMAT, &ran, &queued) == 2 ? queued : 0;
}

int64_t loop_poll_ns(LoopPoll *poll, int64_t now_ns, int64_t wait_ns)
{
    int64_t since = now_ns - poll->checked_ns;

    if (poll->ns > 0 && since >= CHECK_NS) {
        int64_t queued_ns = time_in_queue(poll);

        poll->crowded = queued_ns - poll->queued_ns > since / CROWDED;
        poll->queued_ns = queued_ns;
        poll->checked_ns = now_ns;
    }
    return poll->crowded || wait_ns <= NAP_NS ? 0 : MIN(poll->ns, wait_ns);
}

static int64_t grown(const LoopPoll *poll)
{
    int64_t factor = poll->options.grow ? poll->options.grow : DEFAULT_GROW;

    if (poll->ns == 0) {
        return MIN(FIRST_NS, poll->options.max_ns);
    }
    return poll->ns > poll->options.max_ns / factor ? poll->options.max_ns : poll->ns * factor;
}

/* A wait that nothing ended but its own limit says nothing of when news come. */
void loop_poll_learn(LoopPoll *poll, int64_t wait_ns, int64_t waited_ns)
{
    if (waited_ns >= wait_ns) {
        return;
    }
    if (waited_ns > poll->options.max_ns) {
        poll->ns = poll->options.shrink ? poll->ns / poll->options.shrink : 0;
    } else if (waited_ns > poll->ns) {
        poll->ns = grown(poll);
    }
}
