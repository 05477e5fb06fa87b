/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One piece of the copier's work: old bytes that were taken from their places and the way they go
 * to the target.  Shared by copier.c and chunk.c, and by nobody else.
 */
#ifndef BLOCK_COPY_CHUNK_H
#define BLOCK_COPY_CHUNK_H

#include "block/copy/copy-int.h"

typedef enum ChunkKind {
    CHUNK_DATA,  /* clusters that are read from the source */
    CHUNK_ZERO,  /* clusters that block status knows to be zero: only taken, not read */
    CHUNK_LEAVE, /* staged blocks, taken when it is made */
} ChunkKind;

typedef struct Chunk {
    BlockCopy *copy;
    ChunkKind kind;
    int64_t offset, bytes; /* what it was made for */
    bool hosted;           /* the host was let at it: newer bytes may be in the target … */
    bool in_target;        /* … but what is pending is right there */
    bool taken;            /* the old bytes are in parts, and nowhere else */
    bool is_read;          /* what failed last: reading the source, or writing the target */
    char *buf;
    size_t buf_len;
    SparseBitmap *fetched; /* its blocks that were read back from the spill file, or NULL */
    GArray *parts;      /* of CopyPart */
    bool ends_with_copy; /* nothing more is written once the copy is off */
    unsigned next_part; /* the first that nobody writes yet */
    unsigned write_flags;
    int64_t moved;      /* bytes that count as progress */
    Transit transit;
} Chunk;

/* DATA or ZERO: whole units of the copier. */
Chunk *chunk_new(BlockCopy *copy, ChunkKind kind, int64_t offset, int64_t bytes);

/*
 * LEAVE: takes some staged blocks (copy_next_leaving() finds some) from *from on or, past the last,
 * from the start of the disk; moves *from behind them.  NULL when out of memory.
 */
Chunk *chunk_new_leave(BlockCopy *copy, int64_t *from);

/* LEAVE: takes the first run of blocks that were saved as zeroes (there are some). */
Chunk *chunk_new_leave_zeroes(BlockCopy *copy);

void chunk_free(Chunk *chunk); /* NULL is accepted */

/*
 * First the old bytes are read and taken, if they are not yet; then they are written.  After an
 * error either can be called again and goes on where it was.
 */
G_GNUC_WARN_UNUSED_RESULT int co_chunk_take(Chunk *chunk);
G_GNUC_WARN_UNUSED_RESULT int co_chunk_write(Chunk *chunk, unsigned write_flags);

/* Into the buffer what the spill file holds of the chunk; nothing is missing then.  (fetch.c) */
G_GNUC_WARN_UNUSED_RESULT int co_chunk_fetch(Chunk *chunk);

/* Makes dirty what it has taken and not written. */
void chunk_mark_rest(const Chunk *chunk, DirtyBitmap *bitmap);

#endif
