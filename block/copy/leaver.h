/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The leaver: moves what a copy has saved to its target, where no background copier does.
 *
 * It works in chunks (chunk.h), several in flight, as long as there is something in staging or in
 * the spill file.  While these have room it takes its turn with the clients that read the view, and
 * gives way to the guest with them.
 * Blocks that were saved as zeroes take no room: they stay marks until the end is near.  An error
 * of the target, or old bytes that were lost, break the copy (I5): there is nobody to ask.
 *
 * The leaver takes part in drain as the own work of the copy's owner: drained it starts nothing,
 * but for a guest that waits for room.  On the loop of the graph, but where said otherwise.
 */
#ifndef BLOCK_COPY_LEAVER_H
#define BLOCK_COPY_LEAVER_H

#include "block/copy/block-copy.h"

typedef struct Leaver Leaver;

/*
 * For a staged copy; is the one that the copy notifies.  @whole_clusters: with a staged block goes
 * the rest of its cluster, read from the source, so that it need not be saved later: for targets
 * that take whole clusters anyway.  Loop 0, control lock.
 */
Leaver *leaver_new(BlockCopy *copy, BlockNode *owner, bool whole_clusters);

/*
 * Moves what is still there, unless the copy has failed, and frees the leaver.  No guest is left.
 * Called on the loop of the graph, comes back on loop 0; control lock.  NULL is accepted.
 */
void co_leaver_free(Leaver *l);

/*
 * The end may be near: moves zeroes, too, from now on.  True when nothing is left that
 * co_leaver_free() would wait for, or the copy is off.  The graph's loop, does not yield.
 */
bool leaver_settle(Leaver *l);

/* Who is to be told of the copy's news in its place, and of each chunk's end; NULL: nobody. */
void leaver_set_notify(Leaver *l, BlockCopyNotifyFn *fn, void *opaque);

/*
 * The end of a copy that was turned off by its user and has not failed: what was saved until then
 * is moved, zeroes too, and nothing more.  Done when nothing is left, or it has failed.
 */
void leaver_finish(Leaver *l);
bool leaver_done(const Leaver *l);
int leaver_error(const Leaver *l); /* -errno, or 0 */

#endif
