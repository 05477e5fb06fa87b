/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Iothreads: loops in threads of their own, by the ids that users gave them.  Loop 0. */
#ifndef MONITOR_IOTHREAD_H
#define MONITOR_IOTHREAD_H

#include "io/loop.h"

/* Starts one.  The id is checked as QEMU's object-add does. */
bool iothread_add(const char *id, GError **errp);

/* The loop of the iothread of that name, or NULL. */
Loop *iothread_loop(const char *id);

/*
 * Ends one that no graph is on.  Control lock held, so that none comes.  Refuses while one is,
 * which qemu-storage-daemon does not: there the graph is left on a loop that nobody runs.
 */
bool iothread_del(const char *id, GError **errp);

/* Ends all.  No graph may be on any. */
void iothreads_free(void);

#endif
