/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by copier.c and copier-next.c, and by nobody else. */
#ifndef BLOCK_COPY_COPIER_INT_H
#define BLOCK_COPY_COPIER_INT_H

#include "block/copy/chunk.h"
#include "block/copy/copier.h"

/*
 * Buffers of chunks in flight together, and one of them: more than this only costs cache.  With a
 * rate limit a chunk is COPY_MAX_IO, as QEMU's.
 */
#define COPIER_BYTES ((int64_t)16 << 20)
/* What the copier reads at the least, however busy the guest is: bytes a second. */
#define COPIER_LEAST_SPEED ((int64_t)8 << 20)
#define CHUNK_BYTES ((int64_t)512 << 10)
/* The host takes more at a time: what it shares costs by the call. */
#define HOST_CHUNK_BYTES ((int64_t)4 << 20)

struct Copier {
    CopierOptions o;
    BlockCopy *copy;
    int64_t unit;       /* what a bit of @left stands for */
    SparseBitmap *left; /* what no chunk was made for yet */
    int64_t chunk_max, chunk_usual; /* bytes: with a rate limit, and without … */
    int64_t chunk_host;             /* … where the host copies */
    Pace pace;
    int64_t copying_bytes; /* of data chunks in flight */

    /* What block status said last, from the next unit that is to be copied on. */
    int64_t known_until;
    bool known_zero;
    bool asking;

    int64_t leave_from; /* where in staging the next leave chunk looks */
    unsigned copying, leaving, zeroing;
    GQueue failed; /* of Chunk: what is to be tried again */
    bool paused, drained;
    int error;
    bool error_is_read;
    int64_t wake_time; /* the rate limit's */
    bool held;         /* it is what holds the next chunk back */
    int64_t pace_wake; /* the pace does until then; INT64_MAX: it does not */
    bool pumping, pump_again;
};

bool copier_staging_empty(const Copier *c);

/* The chunk to be started now, or NULL. */
Chunk *copier_next_chunk(Copier *c);

#endif
