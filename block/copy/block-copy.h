/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One point-in-time copy of a node: which blocks still lie only in the source, and where the old
 * bytes of the others are.  Mechanism; who copies what and when is the copy-before-write filter's
 * and the copier's.
 *
 * The copy works in blocks.  A block that belongs to the copy is *pending* while its old bytes are
 * only in the source.  A guest write makes a *save* of the pending blocks it touches and goes ahead
 * when the old bytes are in their place: staging memory (BLOCK_COPY_STAGED; a page of zeroes is
 * only marked) or the target (BLOCK_COPY_WRITE_THROUGH).  Or the copier reads the block from the
 * source and moves it to the target.  Pending only ever ends: a block that is not pending is never
 * saved again.
 *
 * Nobody who reads the source for the copy holds a range against the guest: a read is taken for
 * what it is when it ends, in one step with the change of states.  A block that is pending at that
 * moment was not written since the instant (I2), because a guest's write is submitted only after
 * its blocks were saved; every other block is taken from its saved place.
 *
 * On the loop of the graph, but where said otherwise.
 */
#ifndef BLOCK_COPY_BLOCK_COPY_H
#define BLOCK_COPY_BLOCK_COPY_H

#include "bitmap/dirty-bitmap.h"
#include "block/node-io.h"

typedef struct BlockCopy BlockCopy;

typedef enum BlockCopyMode {
    BLOCK_COPY_STAGED,        /* a save ends in memory; blocks of 4 KiB or the source's alignment */
    BLOCK_COPY_WRITE_THROUGH, /* a save ends in the target; blocks are clusters */
} BlockCopyMode;

#define BLOCK_COPY_MIN_STAGING ((size_t)2 << 20)

typedef struct BlockCopyOptions {
    BlockNode *owner;     /* the filter: is in use while a save runs */
    BlockChild *source;   /* its edges to read old bytes from … */
    BlockChild *target;   /* … and to write them to */
    int64_t cluster_size; /* power of two: what is copied, selected and discarded as a whole */
    BlockCopyMode mode;
    bool break_guest_write; /* a failed save fails the guest's write; else it fails the copy */
    int64_t timeout_ns;     /* of a guest write's wait for saves; 0: none */
    size_t staging_bytes;   /* STAGED: at least BLOCK_COPY_MIN_STAGING; 0: 64 MiB */
    int64_t room_limit_ns;  /* … how long a guest write waits for room; 0: 15 seconds */
    bool by_blocks;         /* select and discard blocks, rather than whole clusters */
    const char *job_id;     /* whose copy it is, for events; NULL: the filter's own */
    int64_t target_threshold; /* bytes in the target that are told by an event; 0: none are */
} BlockCopyOptions;

/* Nothing is selected yet.  Loop 0, graph drained or not in use. */
BlockCopy *block_copy_new(const BlockCopyOptions *options);
void block_copy_free(BlockCopy *copy); /* nothing in flight; NULL is accepted */

/*
 * Gives a staged copy a spill file of at most @bytes (at least SPILL_EXTENT) for what staging has
 * no room for: @fd, which it takes over, or (-1) one in the scratch folder when it is first needed.
 * Before the first request.
 */
void block_copy_spill_to(BlockCopy *copy, int64_t bytes, int fd);
/* That file under another descriptor, or -1: for who closes it last, after the copy went. */
int block_copy_dup_spill(const BlockCopy *copy);

/*
 * What belongs to the copy: all, or what is dirty in @bitmap (of the same size), in whole clusters
 * (or blocks).  Once, before the first request.
 */
void block_copy_select_all(BlockCopy *copy);
bool block_copy_select_dirty(BlockCopy *copy, const DirtyBitmap *bitmap, GError **errp);

int64_t block_copy_cluster_size(const BlockCopy *copy);
int64_t block_copy_selected_bytes(const BlockCopy *copy); /* still to be copied or saved */

/*
 * Before a guest's write to the range (at most 1 MiB): waits until none of its blocks is pending.
 * 0: go ahead.  An error (-errno) is for the guest, and possible only with break_guest_write.
 * Saves that were begun go on by themselves when the caller's time is out.
 */
G_GNUC_WARN_UNUSED_RESULT int co_block_copy_save(BlockCopy *copy, int64_t offset, int64_t bytes);

/*
 * Around each request of the guest that passes by: a copier (or who reads the view) learns from it
 * how long they take, and gives way.
 */
typedef struct BlockCopyGuest {
    bool counts; /* it is the guest's, and not a client's of the view */
    int64_t began;
    uint64_t room_waits;
} BlockCopyGuest;
BlockCopyGuest block_copy_guest_begin(BlockCopy *copy, bool is_read);
void block_copy_guest_end(BlockCopy *copy, const BlockCopyGuest *guest);

/*
 * The first byte in the range whose block is pending; false if there is none, or the copy is off.
 */
bool block_copy_next_pending(const BlockCopy *copy, int64_t offset, int64_t bytes, int64_t *at);

/* How many bytes from @offset on, which is pending, lie in pending blocks. */
int64_t block_copy_pending_run(const BlockCopy *copy, int64_t offset, int64_t bytes);

bool block_copy_is_staged(const BlockCopy *copy);

/* What is in use of what there is, bytes.  Any thread. */
typedef struct BlockCopyUse {
    int64_t staging_used, staging_size;
    int64_t spill_used, spill_size;
    int spill_error;
} BlockCopyUse;
BlockCopyUse block_copy_use(const BlockCopy *copy);

/* All figures, for queries; the caller's.  Any thread, as long as the copy is there. */
XCopyInfo *block_copy_info(const BlockCopy *copy);

/*
 * Turns the copy off: no more saves, and all who wait go ahead; @error (-errno) is what the copy
 * failed with.  The first of a cancel's or failure's steps.  Once it is off it stays off.
 */
void block_copy_stop(BlockCopy *copy, int error);
bool block_copy_stopped(const BlockCopy *copy);
int block_copy_error(const BlockCopy *copy); /* 0: none */

/* The error of the first old bytes that could not be read before a guest wrote over them, or 0. */
int block_copy_lost_error(const BlockCopy *copy);
/* Makes the blocks that were lost so dirty in @bitmap. */
void block_copy_mark_lost(const BlockCopy *copy, DirtyBitmap *bitmap);

/*
 * Makes dirty in @bitmap what did not get on its way to the target: pending, staged or lost.  With
 * no copier's chunk in flight; what the copier holds is in copier_mark_rest().
 */
void block_copy_mark_rest(const BlockCopy *copy, DirtyBitmap *bitmap);

/*
 * Who is to be told when a save changed something: a block lost, staging filled, the copy failed.
 */
typedef void BlockCopyNotifyFn(void *opaque);
void block_copy_set_notify(BlockCopy *copy, BlockCopyNotifyFn *fn, void *opaque);

/* Bytes of what was saved that have reached the target so far.  Any thread. */
int64_t block_copy_saved_bytes(const BlockCopy *copy);

/* Makes durable what was written to the target. */
G_GNUC_WARN_UNUSED_RESULT int co_block_copy_flush(BlockCopy *copy);

/* --- The target as a view of its own --- */

/*
 * From now on who reads the target's node sees there what is staged, as if it had arrived.  Before
 * the first request; undone at the latest by block_copy_free().  Loop 0, both graphs drained.
 */
void block_copy_show_in_target(BlockCopy *copy);
void block_copy_hide_in_target(BlockCopy *copy);

/* --- The frozen view: the source as it was at the instant --- */

/* -EACCES for what does not belong to the copy, was discarded, or after the copy has failed. */
G_GNUC_WARN_UNUSED_RESULT int co_block_copy_frozen_read(BlockCopy *copy, int64_t offset,
                                                        const IoSlice *data);
G_GNUC_WARN_UNUSED_RESULT int co_block_copy_frozen_status(BlockCopy *copy, bool want_zero,
                                                          int64_t offset, int64_t bytes,
                                                          BlockStatus *status);

/*
 * The reader has finished with the range: whole clusters (or blocks) in it are no longer saved,
 * their saved places are freed, and they cannot be read any more.
 */
G_GNUC_WARN_UNUSED_RESULT int co_block_copy_frozen_discard(BlockCopy *copy, int64_t offset,
                                                           int64_t bytes);

#endif
