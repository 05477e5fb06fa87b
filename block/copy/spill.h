/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The spill file: saved blocks that left staging memory before the target could take them.
 *
 * A file of slots, one block each, in extents of 1 MiB.  Blocks are written to the next slots in
 * large sequential writes and never change there; an extent is used again when nothing in it is
 * held any more.  The file is bounded, and made when it is first needed.
 *
 * What it takes in memory is bounded with it (I7): 16 bytes a block of the file (spill-index.h),
 * and a bit for each block of the disk near those that are held.
 *
 * On the loop of the copy, but where said otherwise.
 */
#ifndef BLOCK_COPY_SPILL_H
#define BLOCK_COPY_SPILL_H

#include "bitmap/sparse-bitmap.h"
#include "util/io-slice.h"

typedef struct Spill Spill;

#define SPILL_EXTENT ((size_t)1 << 20)
#define SPILL_DEFAULT_BYTES (INT64_C(8) << 30)

/*
 * Of a copy of @n_blocks blocks of @block_size bytes (at most SPILL_EXTENT); the file takes at most
 * @max_bytes.  @fd: the file, which the spill closes; -1: one in the scratch folder when it is
 * first needed.
 */
Spill *spill_new(uint64_t n_blocks, size_t block_size, int64_t max_bytes, int fd);
void spill_free(Spill *s); /* nothing in flight; NULL is accepted */

/* How many blocks can be written together now: 0 when the file has no more room. */
unsigned spill_room(const Spill *s);

/*
 * Writes whole blocks (at most spill_room() of them) to consecutive slots and returns the first.
 * The caller says of each slot which block is held there, or gives it back.  -errno.
 */
G_GNUC_WARN_UNUSED_RESULT int64_t co_spill_write(Spill *s, const IoSlice *blocks);
void spill_hold(Spill *s, uint64_t block, int64_t slot);
void spill_give_back(Spill *s, int64_t slot);

/* Which blocks are held: a bit each. */
const SparseBitmap *spill_held(const Spill *s);

/* Is @next held in the slot behind that of @block, which is held, so that one read gets both? */
bool spill_follows(const Spill *s, uint64_t block, uint64_t next);

/*
 * Reads @block and those that follow it so; @data has room for whole blocks and suits direct I/O.
 * What was held when it began is read, even if it is dropped meanwhile.
 */
G_GNUC_WARN_UNUSED_RESULT int co_spill_read(Spill *s, uint64_t block, const IoSlice *data);

/* It is not held any more. */
void spill_drop(Spill *s, uint64_t block);

/*
 * The file under another descriptor, or -1 (it is not made): to close later, where that may take
 * long, since it gives the space back.
 */
int spill_dup_file(const Spill *s);

int64_t spill_limit(const Spill *s); /* bytes */
int64_t spill_used(const Spill *s);  /* bytes of extents in use; any thread */
size_t spill_memory(const Spill *s); /* bytes */

#endif
