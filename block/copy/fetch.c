/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading back from the spill file what a chunk covers.
 *
 * Blocks go on being spilled while others are fetched, so it is done until nothing is missing;
 * then, without a yield, the chunk takes all of its range.  A block is fetched once: its bytes in
 * the file never change.
 */
#include "block/copy/chunk.h"
#include "io/co-parallel.h"

/* Reads in flight for one chunk. */
#define FETCHERS 16

typedef struct Fetch {
    Chunk *chunk;
    uint64_t next; /* the first block that nobody looks at yet */
} Fetch;

/* The next run in the spill file that is not in the chunk's buffer yet; 0: there is none. */
static unsigned next_missing(const Chunk *chunk, uint64_t from, uint64_t *block)
{
    const Spill *spill = chunk->copy->spill;
    uint64_t first = copy_first_block(chunk->copy, chunk->offset), fetched;
    uint64_t end = copy_end_block(chunk->copy, chunk->offset, chunk->bytes);
    unsigned max;

    for (uint64_t at = from; sparse_bitmap_next_set(spill_held(spill), at, end, block);
         at = *block + 1) {
        if (!chunk->fetched || !sparse_bitmap_get(chunk->fetched, *block - first)) {
            max = end - *block;
            if (chunk->fetched &&
                sparse_bitmap_next_set(chunk->fetched, *block - first, end - first, &fetched)) {
                max = fetched - (*block - first);
            }
            return spill_run(spill, *block, max);
        }
    }
    return 0;
}

static int co_fetch_run(void *opaque)
{
    Fetch *f = opaque;
    Chunk *chunk = f->chunk;
    BlockCopy *copy = chunk->copy;
    uint64_t block;
    unsigned count = next_missing(chunk, f->next, &block);
    int ret;

    if (count == 0) {
        return 0;
    }
    f->next = block + count;
    ret = co_spill_read(copy->spill, block, count,
                        chunk->buf + (copy_block_offset(copy, block) - chunk->offset));
    if (ret < 0) {
        return ret;
    }
    sparse_bitmap_set(chunk->fetched, block - copy_first_block(copy, chunk->offset), count);
    return 1;
}

int co_chunk_fetch(Chunk *chunk)
{
    uint64_t first = copy_first_block(chunk->copy, chunk->offset), block;
    int ret = 0;

    while (ret == 0 && chunk->copy->spill && next_missing(chunk, first, &block)) {
        Fetch fetch = { .chunk = chunk, .next = first };

        if (!chunk->fetched) {
            chunk->fetched = sparse_bitmap_new(
                copy_end_block(chunk->copy, chunk->offset, chunk->bytes) - first);
        }
        ret = co_in_parallel(FETCHERS, co_fetch_run, &fetch);
    }
    return ret;
}
