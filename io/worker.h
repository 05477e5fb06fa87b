/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The worker pool: a few threads for what blocks (SEEK_DATA, block-device ioctls, copy_file_range,
 * name look-up, compression).  One pool for the process, threads are started when needed and end
 * when idle.
 */
#ifndef IO_WORKER_H
#define IO_WORKER_H

#include "io/co.h"

/*
 * Runs fn(opaque) in a worker thread, yields until it returned, and returns its result.  At most
 * 32 at a time, the others wait their turn.  Not for what may take for ever: it cannot be
 * cancelled.
 */
int co_in_worker(int (*fn)(void *opaque), void *opaque);

/* Ends the pool's threads; for the end of the process.  Nothing may be under way. */
void worker_pool_shutdown(void);

#endif
