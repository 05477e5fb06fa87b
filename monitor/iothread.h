/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Iothreads: loops in threads of their own, as objects that users make.  Loop 0. */
#ifndef MONITOR_IOTHREAD_H
#define MONITOR_IOTHREAD_H

#include "io/loop.h"

#include "qmp-schema/qmp-types.h"

/* Starts one; NULL with @errp set on failure. */
Loop *iothread_new(const char *id, const IothreadProperties *properties, GError **errp);

/* Ends one that no graph is on: GDestroyNotify of an object. */
void iothread_free(void *loop);

/* The loop of the iothread of that name, or NULL. */
Loop *iothread_loop(const char *id);

/*
 * Is a graph on it?  Control lock held, so that none comes.  Deleting it is refused then, which
 * qemu-storage-daemon does not: there the graph is left on a loop that nobody runs.
 */
bool iothread_in_use(const Loop *loop);

#endif
