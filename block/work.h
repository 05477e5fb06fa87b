/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Work on nodes by one command or job that nobody else has to know of: making an image, checking
 * one.  It holds root edges; a drained section of its graph waits until the work is over.
 *
 * The order of calls, all in one coroutine: under the control lock new, attach, begin; without it
 * the work itself, on the graph's loop; end, back on loop 0; under the lock free.
 */
#ifndef BLOCK_WORK_H
#define BLOCK_WORK_H

#include "block/user.h"

typedef struct BlockWork BlockWork;

/* Loop 0, control lock held. */
BlockWork *block_work_new(void);
/* Perm and shared: BlockPerm.  "Block node is read-only" where it is to write and cannot. */
BlockChild *co_block_work_attach(BlockWork *work, BlockNode *node, unsigned perm, unsigned shared,
                                 GError **errp);
void co_block_work_free(BlockWork *work); /* NULL is accepted */

/* Gives up the control lock, and goes to the graph's loop. */
void co_block_work_begin(BlockWork *work);
/* Comes back to loop 0, and takes the control lock. */
void co_block_work_end(BlockWork *work);

#endif
