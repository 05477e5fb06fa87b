/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting threads, private to io/. */
#ifndef IO_THREAD_H
#define IO_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/*
 * Starts a thread in which all signals are blocked (the main thread takes them).  @name is cut to
 * 15 bytes.  @thread: NULL makes it a detached one.  0 or -errno.
 */
int thread_start(pthread_t *thread, const char *name, void *(*fn)(void *), void *opaque);

#endif
