/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control lock: topology, names and the set of bitmaps change only on loop 0 with it held.
 * Queries, cancel and quit never take it.
 */
#ifndef BLOCK_CONTROL_H
#define BLOCK_CONTROL_H

#include "io/co-lock.h"

/* Loop 0: the loop that runs this; set once at start. */
void control_init(Loop *loop0);
Loop *control_loop(void);

/* Lock and unlock; on loop 0 in a coroutine.  Not recursive. */
void co_control_lock(void);
void control_unlock(void);
bool control_locked_by_me(void); /* for assertions */

/*
 * The daemon is to end: what holds the lock for long (an image that is repaired while it is opened)
 * gives up.  Said once, on loop 0; asked on any thread.
 */
void control_stop(void);
bool control_stopping(void);

#endif
