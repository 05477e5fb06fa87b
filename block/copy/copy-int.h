/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the files of block/copy/, and by nobody else: the states of a copy and the steps
 * between them.
 */
#ifndef BLOCK_COPY_COPY_INT_H
#define BLOCK_COPY_COPY_INT_H

#include "block/copy/block-copy.h"
#include "block/copy/pace.h"
#include "block/copy/spill.h"
#include "block/copy/staging.h"
#include "util/meter.h"
#include "util/range.h"

#define COPY_MIN_BLOCK 4096
#define COPY_MAX_IO ((int64_t)1 << 20)
#define COPY_STAGING_BYTES ((size_t)64 << 20)

typedef struct Save Save;
typedef struct Transit Transit;
typedef struct CopyBuffer CopyBuffer;
typedef struct CopyFront CopyFront;

/* A run of old bytes on its way to the target. */
typedef struct CopyPart {
    int64_t offset, bytes; /* whole blocks, but for the end of the disk */
    const char *data;      /* NULL: zeroes */
    bool written;          /* it is in the target */
} CopyPart;

/*
 * Old bytes that left their places and are on their way to the target (a chunk's).  Until they are
 * there a reader of the frozen view takes them from here.
 */
struct Transit {
    const GArray *parts;   /* of CopyPart */
    bool moving;           /* not kept for another attempt after an error */
    Transit *next, **prev; /* copy->transits */
};

/* Sizes of buffers that are kept (buffers.c). */
#define COPY_BUFFER_SIZES 2

/*
 * A block is in one of these states, or none of them: not selected, or moved to the target (done,
 * or in transit).  Staged blocks are those that staging holds.
 */
struct BlockCopy {
    BlockNode *owner;
    BlockChild *source, *target;
    int64_t size, block_size, cluster_size;
    int64_t unit; /* what is selected and discarded as a whole */
    SparseBitmap *pending; /* old bytes are in the source */
    SparseBitmap *zeroes;  /* saved: they were zeroes */
    SparseBitmap *lost;    /* they could not be read */
    SparseBitmap *access;  /* the frozen view may be read here */
    SparseBitmap *hosted;  /* the host is copying them to the target (host-copy.c) */
    bool use_host;         /* it may; off for good after its first failure */
    _Atomic int64_t host_bytes; /* that it has copied */
    Staging *staging;      /* BLOCK_COPY_STAGED */
    bool takes_single_blocks; /* the target does, without a look at what is around them */
    Spill *spill;          /* NULL: there is none */
    uint64_t spill_from;   /* where in staging the next batch begins */
    bool spilling;
    _Atomic int spill_error; /* the first one; nothing is spilled after it */
    unsigned target_flags; /* BLOCK_SERIALISING where others may be reading the target */
    int64_t freed;         /* bytes discarded in the target, which may not be told of yet */
    CopyFront *front;      /* shows what is staged to readers of the target; or NULL */
    bool break_guest_write;
    int64_t timeout_ns;

    _Atomic bool off;
    _Atomic int error; /* of why it is off */
    int lost_error;
    Save *saves; /* in flight */
    Transit *transits;
    CoQueue transit_stops; /* one of them is there, or has failed */
    CopyBuffer *buffers[COPY_BUFFER_SIZES]; /* free ones (buffers.c) … */
    GSList *huge_pages;                     /* … which all are cut from these */
    _Atomic int64_t saved_bytes; /* that have reached the target */
    BlockCopyNotifyFn *notify;
    void *notify_opaque;
    Pace *pace; /* the copier's, or of readers; NULL: nobody gives way */
    Pace reader_pace;     /* reader-pace.c: */
    CoMutex reader_turn;  /* whose turn it is to begin */
    CoQueue reader_ended; /* a read of the source did */

    /* For figures and events (tell.c). */
    char *job_id;              /* NULL: there is no job */
    uint64_t selected;         /* blocks */
    _Atomic uint64_t left_out; /* … that nobody copies after all */
    _Atomic int64_t kept_bytes; /* saved, wherever they are now */
    Meter moved;               /* bytes that were copied or read by clients */
    Meter guest_requests;
    Meter guest_waits;         /* for saves, ns */
    _Atomic int64_t slowed_ns; /* a request of the guest, by what is read beside it */
    int64_t target_threshold;  /* bytes; 0: there is none */
    bool staging_is_high, target_is_high; /* an event told so */
    int64_t staging_told_at;
    unsigned spill_told;       /* bits of XBackupSpillReason */
};

static inline uint64_t copy_n_blocks(const BlockCopy *copy)
{
    return units_covering(copy->size, copy->block_size);
}

static inline uint64_t copy_first_block(const BlockCopy *copy, int64_t offset)
{
    return offset / copy->block_size;
}

/* One past the last block that the range touches. */
static inline uint64_t copy_end_block(const BlockCopy *copy, int64_t offset, int64_t bytes)
{
    return units_covering(offset + bytes, copy->block_size);
}

/*
 * The part of a range that was on the disk at the instant: a filter without a job lets it grow.
 * What lies behind is not the copy's.
 */
static inline int64_t copy_clip(const BlockCopy *copy, int64_t offset, int64_t bytes)
{
    return offset >= copy->size ? 0 : MIN(bytes, copy->size - offset);
}

static inline int64_t copy_block_offset(const BlockCopy *copy, uint64_t block)
{
    return block * copy->block_size;
}

/* Bytes of @count blocks from @block on: the last block of the disk may be cut. */
static inline int64_t copy_blocks_bytes(const BlockCopy *copy, uint64_t block, uint64_t count)
{
    return MIN(copy->size, copy_block_offset(copy, block + count)) - copy_block_offset(copy, block);
}

static inline bool copy_all_pending(const BlockCopy *copy, int64_t offset, int64_t bytes)
{
    uint64_t block;

    return !sparse_bitmap_next_clear(copy->pending, copy_first_block(copy, offset),
                                     copy_end_block(copy, offset, bytes), &block);
}

static inline void copy_notify(const BlockCopy *copy)
{
    if (copy->notify) {
        copy->notify(copy->notify_opaque);
    }
}

/* The guest may write over @block although its old bytes could not be read. */
void copy_lose(BlockCopy *copy, uint64_t block, int error);

/* Wakes those who wait for saves (save.c). */
void copy_wake_savers(BlockCopy *copy);

/* Moves blocks from staging to the spill file if that is needed (spiller.c). */
void copy_spill_pump(BlockCopy *copy);
bool copy_spill_has_room(const BlockCopy *copy);

/* Bytes that are in the target, or on their way to it.  Any thread. */
int64_t copy_in_target(const BlockCopy *copy);

/* Sends events, if there is news: when staging or the target filled, when the copy was told. */
void copy_tell_staging(BlockCopy *copy);
void copy_tell_target(BlockCopy *copy);
void copy_tell_spill(BlockCopy *copy);

/* Is something in the spill file, or on its way there? */
bool copy_spill_in_use(const BlockCopy *copy);

/* From now on clients that read the view give way to the guest.  Not with a copier. */
void copy_pace_readers(BlockCopy *copy);
bool copy_readers_give_way(const BlockCopy *copy);
/* How much of such a read to do at a time. */
int64_t copy_reader_piece(const BlockCopy *copy, int64_t bytes);
/* Around each read of the source for a client; begin waits, and says what end wants to know. */
int64_t co_copy_reader_begin(BlockCopy *copy, int64_t bytes);
void copy_reader_end(BlockCopy *copy, int64_t began, int64_t bytes);

void copy_transit_begin(BlockCopy *copy, Transit *transit, const GArray *parts);
void copy_transit_end(BlockCopy *copy, Transit *transit);
/* Waits until nothing in the range is being written to the target, by a chunk or the host. */
void co_copy_wait_transits(BlockCopy *copy, int64_t offset, int64_t bytes);
/* The part that @offset lies in; NULL where it is not on its way. */
const CopyPart *copy_transit_find(const BlockCopy *copy, int64_t offset);

/* The next staged block that may be written to the target, whatever the host does there. */
bool copy_next_leaving(const BlockCopy *copy, uint64_t from, uint64_t *block);

/*
 * May the host copy the range (host-copy.c), and now?  Then it does: 0, and what is pending in the
 * range when the caller takes it, in one step with copy_host_end(), is right in the target.
 */
bool copy_host_may(const BlockCopy *copy, int64_t offset, int64_t bytes);
G_GNUC_WARN_UNUSED_RESULT int co_copy_by_host(BlockCopy *copy, int64_t offset, int64_t bytes);
void copy_host_end(BlockCopy *copy, int64_t offset, int64_t bytes);

/*
 * Overlays what is not pending any more on what was read of the source; blocks in the target and
 * in the spill file are left for the caller, in @later (a bit each, from the first on; NULL: they
 * are not wanted).  Does not yield.
 */
G_GNUC_WARN_UNUSED_RESULT int copy_overlay(BlockCopy *copy, int64_t offset, const IoSlice *data,
                                           SparseBitmap *later);

/*
 * For a reader of the target whom no chunk's write overtakes: overlays what was left in @later, but
 * for what it has read from the target itself.
 */
G_GNUC_WARN_UNUSED_RESULT int co_copy_overlay_later(BlockCopy *copy, int64_t offset,
                                                    const IoSlice *data,
                                                    const SparseBitmap *later);

/*
 * Cuts *bytes to a run of blocks whose old bytes are in the same place.  True: that is none of the
 * nodes, and *status tells of it.  Else *pending says whether it is the source.
 */
bool copy_saved_status(const BlockCopy *copy, int64_t offset, int64_t *bytes, BlockStatus *status,
                       bool *pending);
/*
 * Cuts the answer of the source to the blocks for which it still counts; false if there are none.
 */
bool copy_still_pending(const BlockCopy *copy, int64_t offset, BlockStatus *status);

/* A buffer that suits both ends. */
void *copy_alloc(const BlockCopy *copy, size_t len);

/* The same, from those that are kept; given back with the same @len, before the copy goes. */
void *copy_buffer_get(BlockCopy *copy, size_t len);
void copy_buffer_put(BlockCopy *copy, void *buf, size_t len); /* NULL is accepted */
void copy_buffers_free(BlockCopy *copy);

/* Writes a range to the target: data, or zeroes where @buf is NULL or holds only zeroes. */
G_GNUC_WARN_UNUSED_RESULT int co_copy_write(BlockCopy *copy, int64_t offset, const void *buf,
                                            int64_t bytes, unsigned flags);

#endif
