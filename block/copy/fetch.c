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
/* In one read: half a MiB of the smallest blocks, as large as a usual chunk. */
#define RUN_BLOCKS 128

typedef struct Fetch {
    Chunk *chunk;
    uint64_t next; /* the first block that nobody looks at yet */
} Fetch;

/* Blocks that lie one behind the other in the spill file, if not on the disk: one read. */
typedef struct Run {
    unsigned count;
    uint64_t blocks[RUN_BLOCKS];
    struct iovec iov[RUN_BLOCKS]; /* their places in the chunk's buffer */
} Run;

/* The next block in the spill file that is not in the chunk's buffer yet; false: there is none. */
static bool next_missing(const Chunk *chunk, uint64_t from, uint64_t *block)
{
    uint64_t first = copy_first_block(chunk->copy, chunk->offset);
    uint64_t end = copy_end_block(chunk->copy, chunk->offset, chunk->bytes);

    for (uint64_t at = from;
         sparse_bitmap_next_set(spill_held(chunk->copy->spill), at, end, block); at = *block + 1) {
        if (!chunk->fetched || !sparse_bitmap_get(chunk->fetched, *block - first)) {
            return true;
        }
    }
    return false;
}

static void add_block(Run *run, const Chunk *chunk, uint64_t block)
{
    const BlockCopy *copy = chunk->copy;

    run->blocks[run->count] = block;
    run->iov[run->count++] = (struct iovec){
        chunk->buf + (copy_block_offset(copy, block) - chunk->offset), copy->block_size,
    };
}

/* Saves are spilled in the order of the disk: those of a chunk often lie together. */
static void take_run(Fetch *f, Run *run)
{
    const Spill *spill = f->chunk->copy->spill;
    uint64_t block;

    run->count = 0;
    while (run->count < RUN_BLOCKS && next_missing(f->chunk, f->next, &block) &&
           (run->count == 0 || spill_follows(spill, run->blocks[run->count - 1], block))) {
        add_block(run, f->chunk, block);
        f->next = block + 1;
    }
}

static int co_fetch_run(void *opaque)
{
    Fetch *f = opaque;
    Chunk *chunk = f->chunk;
    Run run;
    IoSlice data;
    int ret;

    take_run(f, &run);
    if (run.count == 0) {
        return 0;
    }
    data = io_slice(run.iov, run.count);
    ret = co_spill_read(chunk->copy->spill, run.blocks[0], &data);
    if (ret < 0) {
        return ret;
    }
    for (unsigned i = 0; i < run.count; i++) {
        sparse_bitmap_set(chunk->fetched,
                          run.blocks[i] - copy_first_block(chunk->copy, chunk->offset), 1);
    }
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
