/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The leaver: moves what a copy has staged to its target, where no background copier does.
 *
 * It works in leave chunks (chunk.h), several in flight, as long as there is something staged.
 * Blocks that were saved as zeroes take no room: they stay marks until the end.  An error of the
 * target, or old bytes that were lost, break the copy (I5): there is nobody to ask.
 *
 * The leaver takes part in drain as the own work of the copy's owner: drained it starts nothing,
 * but for a guest that waits for room.  On the loop of the graph, but where said otherwise.
 */
#ifndef BLOCK_COPY_LEAVER_H
#define BLOCK_COPY_LEAVER_H

#include "block/copy/block-copy.h"

typedef struct Leaver Leaver;

/* For a staged copy; is the one that the copy notifies.  Loop 0, control lock. */
Leaver *leaver_new(BlockCopy *copy, BlockNode *owner);

/*
 * Moves what is still staged, unless the copy has failed, and frees the leaver.  No guest is left.
 * Called on the loop of the graph, comes back on loop 0; control lock.  NULL is accepted.
 */
void co_leaver_free(Leaver *l);

/* Who is to be told of the copy's news in its place, and of each chunk's end; NULL: nobody. */
void leaver_set_notify(Leaver *l, BlockCopyNotifyFn *fn, void *opaque);

/*
 * The end of a copy that was turned off by its user and has not failed: what was staged until then
 * is moved, zeroes too.  Done when nothing is left, or it has failed.
 */
void leaver_finish(Leaver *l);
bool leaver_done(const Leaver *l);
int leaver_error(const Leaver *l); /* -errno, or 0 */

#endif
