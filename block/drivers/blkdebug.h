/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events that image drivers raise on their children, for the rules of blkdebug nodes. */
#ifndef BLOCK_DRIVERS_BLKDEBUG_H
#define BLOCK_DRIVERS_BLKDEBUG_H

#include "block/child.h"

/*
 * Tells @child's node that @event happens now.  Does nothing unless the node's driver is blkdebug:
 * a rule there may change its state or arm an error.
 */
void blkdebug_event(BlockChild *child, BlkdebugEvent event);

#endif
