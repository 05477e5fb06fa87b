/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which slot of the spill file holds which block.
 *
 * A hash table that grows by one bucket at a time: no insertion, however many blocks there are,
 * makes the loop wait for a rehash.  A slot holds one block, so the entries are an array by slot,
 * which also tells what the next slot holds.  16 bytes for each slot up to the highest that was
 * ever used (32 MiB for 8 GiB of 4 KiB blocks), however large the disk is and wherever on it the
 * blocks are.
 *
 * Nothing yields.  No locks: on the loop of the copy.
 */
#ifndef BLOCK_COPY_SPILL_INDEX_H
#define BLOCK_COPY_SPILL_INDEX_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct SpillIndex SpillIndex;

/* Slots are below this: 16 TiB of blocks of 4 KiB. */
#define SPILL_INDEX_MAX_SLOTS ((int64_t)UINT32_MAX)

SpillIndex *spill_index_new(void);
void spill_index_free(SpillIndex *x); /* NULL is accepted */

/* Neither the block nor the slot is in the index yet. */
void spill_index_add(SpillIndex *x, uint64_t block, int64_t slot);
/* Returns the slot of @block, which is not in the index any more; -1 where it was not. */
int64_t spill_index_remove(SpillIndex *x, uint64_t block);

int64_t spill_index_slot(const SpillIndex *x, uint64_t block); /* -1: none */
bool spill_index_holds(const SpillIndex *x, int64_t slot, uint64_t block); /* any slot >= 0 */

size_t spill_index_memory(const SpillIndex *x); /* bytes */

#endif
