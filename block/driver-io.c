/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Part of the gate: calls of the driver, in pieces of its limits, with a stand-in for what it
 * cannot do itself (FUA, write-zeroes); see driver-io.h.
 */
#include "block/driver-io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/gate.h"
#include "util/range.h"

/* The most that one call of a driver gets where the driver itself names no limit. */
#define MAX_PIECE ((int64_t)1 << 30)
/* The buffer of zeroes that stands in for a write-zeroes that a driver cannot do. */
#define ZERO_BUFFER (1 << 20)

static int call_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    if (node->driver->co_read) {
        return node->driver->co_read(node, offset, data, flags);
    }
    return node->driver->is_filter ? co_block_read(node->file, offset, data, flags) : -ENOTSUP;
}

static int call_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    if (node->driver->co_write) {
        return node->driver->co_write(node, offset, data, flags);
    }
    return node->driver->is_filter ? co_block_write(node->file, offset, data, flags) : -ENOTSUP;
}

static int call_write_zeroes(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    if (node->driver->co_write_zeroes) {
        return node->driver->co_write_zeroes(node, offset, bytes, flags);
    }
    return node->driver->is_filter ? co_block_write_zeroes(node->file, offset, bytes, flags)
                                   : -ENOTSUP;
}

static int call_discard(BlockNode *node, int64_t offset, int64_t bytes)
{
    if (node->driver->co_discard) {
        return node->driver->co_discard(node, offset, bytes);
    }
    return node->driver->is_filter ? co_block_discard(node->file, offset, bytes) : -ENOTSUP;
}

/* Which of the flags the driver takes itself; a filter without the operation passes all on. */
static unsigned write_flags_of(const BlockNode *node)
{
    return !node->driver->co_write && node->driver->is_filter
               ? ~0u
               : node->driver->supports_write_flags | BLOCK_WRITE_UNCHANGED;
}

static unsigned write_zeroes_flags_of(const BlockNode *node)
{
    return !node->driver->co_write_zeroes && node->driver->is_filter
               ? ~0u
               : node->driver->supports_write_zeroes_flags | BLOCK_WRITE_UNCHANGED;
}

/* --- pieces ------------------------------------------------------------------------------- */

typedef int PieceFn(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags);

static int in_pieces(BlockNode *node, PieceFn *fn, int64_t offset, const IoSlice *data,
                     unsigned flags)
{
    size_t max = node->limits.max_transfer ? node->limits.max_transfer : MAX_PIECE;
    int ret = 0;

    if (G_LIKELY(data->len <= max)) {
        return fn(node, offset, data, flags);
    }
    for (size_t done = 0; done < data->len && ret == 0;) {
        size_t piece = MIN(max, data->len - done);
        IoSlice part = io_slice_sub(data, done, piece);

        ret = fn(node, offset + done, &part, flags);
        done += piece;
    }
    return ret;
}

int co_driver_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    return in_pieces(node, call_read, offset, data, flags);
}

int co_driver_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    unsigned pass = flags & write_flags_of(node);
    int ret = in_pieces(node, call_write, offset, data, pass);

    if (ret == 0 && (flags & BLOCK_FUA) && !(pass & BLOCK_FUA)) {
        node->write_gen++;
        ret = co_gate_flush(node);
    }
    return ret;
}

/* The driver cannot: write buffers of zeroes, the same buffer again and again. */
static int write_zero_buffers(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    size_t len = MIN(bytes, ZERO_BUFFER);
    void *buf = block_alloc(node, len);
    int ret = buf ? 0 : -ENOMEM;

    if (buf) {
        memset(buf, 0, len);
    }
    for (int64_t done = 0; done < bytes && ret == 0;) {
        struct iovec iov = { buf, MIN((int64_t)len, bytes - done) };
        IoSlice data = io_slice(&iov, 1);

        ret = in_pieces(node, call_write, offset + done, &data, flags & write_flags_of(node));
        done += iov.iov_len;
    }
    free(buf);
    return ret;
}

/*
 * The length of the first piece of a request that is to be cut at multiples of @align, at most
 * @max.
 */
static int64_t piece_length(int64_t offset, int64_t bytes, int64_t align, int64_t max)
{
    int64_t head = align > 1 ? offset % align : 0;

    max = max ? max : MAX_PIECE;
    if (head) {
        return MIN(bytes, align - head);
    }
    if (align > 1 && bytes > align) {
        bytes = align_down(bytes, align);
        max = MAX(align_down(max, align), align);
    }
    return MIN(bytes, max);
}

static int zero_piece(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    int ret = call_write_zeroes(node, offset, bytes, flags & write_zeroes_flags_of(node));

    if (ret == -ENOTSUP && !(flags & BLOCK_NO_FALLBACK)) {
        ret = write_zero_buffers(node, offset, bytes, flags & ~BLOCK_FUA);
        if (ret == 0 && (flags & BLOCK_FUA)) {
            node->write_gen++;
            ret = co_gate_flush(node);
        }
    } else if (ret == 0 && (flags & BLOCK_FUA) && !(write_zeroes_flags_of(node) & BLOCK_FUA)) {
        node->write_gen++;
        ret = co_gate_flush(node);
    }
    return ret;
}

int co_driver_write_zeroes(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    int ret = 0;

    while (bytes > 0 && ret == 0) {
        int64_t piece = piece_length(offset, bytes, node->limits.write_zeroes_alignment,
                                     node->limits.max_write_zeroes);

        ret = zero_piece(node, offset, piece, flags);
        offset += piece;
        bytes -= piece;
    }
    return ret;
}

int co_driver_discard(BlockNode *node, int64_t offset, int64_t bytes)
{
    int ret = 0;

    while (bytes > 0 && (ret == 0 || ret == -ENOTSUP)) {
        int64_t piece = piece_length(offset, bytes, node->limits.discard_alignment,
                                     node->limits.max_discard);

        ret = call_discard(node, offset, piece);
        offset += piece;
        bytes -= piece;
    }
    return ret == -ENOTSUP ? 0 : ret;
}
