/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The gate: reads and everything that changes data; see node-io.h.
 *
 * A request goes: check, pad to the driver's alignment, track and serialise, hooks, mark bitmaps
 * (I1), driver in pieces of its limits (driver-io.c), mark again, hooks.  node-copy.c,
 * node-status.c, node-flush.c and truncate.c are the gate's other ways in.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap/dirty-bitmap.h"
#include "block/driver-io.h"
#include "block/gate.h"
#include "block/hook.h"
#include "util/range.h"

void *block_alloc(const BlockNode *node, size_t len)
{
    return aligned_alloc(MAX(node->limits.mem_alignment, 4096), (MAX(len, 1) + 4095) / 4096 * 4096);
}

int gate_check_range(const BlockNode *node, int64_t offset, int64_t bytes)
{
    return offset < 0 || bytes < 0 || offset > node->size || bytes > node->size - offset ? -EIO : 0;
}

int gate_check_change(const BlockChild *child, int64_t offset, int64_t bytes, unsigned flags)
{
    unsigned need = flags & BLOCK_WRITE_UNCHANGED ? BLOCK_PERM_WRITE | BLOCK_PERM_WRITE_UNCHANGED
                                                  : BLOCK_PERM_WRITE;

    if (child->node->options.read_only || !(child->perm & need)) {
        return -EPERM;
    }
    return gate_check_range(child->node, offset, bytes);
}

/* --- one tracked request ------------------------------------------------------------------ */

static int before_hooks(BlockReq *req)
{
    int ret = 0;

    for (unsigned i = 0; i < req->node->hooks->len && ret == 0; i++) {
        BlockHook *hook = req->node->hooks->pdata[i];

        ret = hook->co_before ? hook->co_before(hook, req) : 0;
    }
    return ret;
}

static int after_hooks(BlockReq *req, const IoSlice *data, int ret)
{
    for (unsigned i = 0; i < req->node->hooks->len; i++) {
        BlockHook *hook = req->node->hooks->pdata[i];

        ret = hook->co_after ? hook->co_after(hook, req, data, ret) : ret;
    }
    return ret;
}

void gate_mark_bitmaps(const BlockReq *req)
{
    for (unsigned i = 0; i < req->node->bitmaps->len; i++) {
        dirty_bitmap_mark(req->node->bitmaps->pdata[i], req->offset, req->bytes);
    }
}

void co_gate_wait_turn(BlockReq *req)
{
    if (req->flags & BLOCK_SERIALISING) {
        co_block_req_serialise(req, req->node->limits.request_alignment);
    } else if (G_UNLIKELY(req->node->serialising)) {
        co_block_req_wait_serialising(req);
    }
}

static int do_change(BlockReq *req, const IoSlice *data, unsigned flags)
{
    BlockNode *node = req->node;

    switch (req->type) {
    case BLOCK_REQ_WRITE:
        return co_driver_write(node, req->offset, data, flags);
    case BLOCK_REQ_WRITE_ZEROES:
        return co_driver_write_zeroes(node, req->offset, req->bytes, flags);
    case BLOCK_REQ_DISCARD:
        return co_driver_discard(node, req->offset, req->bytes);
    default:
        g_assert_not_reached();
    }
}

/*
 * The part of a change between tracking and its end.  I1: the bits are set before the driver is
 * called, and again when it is done, whether it succeeded or not (a bitmap may have been cleared
 * or frozen meanwhile).
 */
static int change(BlockReq *req, const IoSlice *data, unsigned flags)
{
    bool marks = !(flags & BLOCK_WRITE_UNCHANGED);
    int ret = before_hooks(req);

    if (ret == 0) {
        if (marks) {
            gate_mark_bitmaps(req);
        }
        if (G_UNLIKELY(req->node->write_threshold)) {
            gate_check_write_threshold(req);
        }
        ret = do_change(req, data, flags);
        if (marks) {
            gate_mark_bitmaps(req);
        }
        req->node->write_gen++;
    }
    return G_UNLIKELY(req->node->hooks->len) ? after_hooks(req, data, ret) : ret;
}

static int tracked_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    BlockReq req;
    int ret;

    block_req_begin(&req, node, BLOCK_REQ_READ, offset, data->len, flags);
    co_gate_wait_turn(&req);
    ret = before_hooks(&req);
    if (ret == 0) {
        ret = co_driver_read(node, offset, data, flags & ~BLOCK_SERIALISING);
    }
    ret = after_hooks(&req, data, ret);
    block_req_end(&req);
    return ret;
}

static int tracked_change(BlockNode *node, BlockReqType type, int64_t offset, int64_t bytes,
                          const IoSlice *data, unsigned flags)
{
    BlockReq req;
    int ret;

    block_req_begin(&req, node, type, offset, bytes, flags);
    co_gate_wait_turn(&req);
    ret = change(&req, data, flags & ~BLOCK_SERIALISING);
    block_req_end(&req);
    return ret;
}

/* --- padding ------------------------------------------------------------------------------ */

/* A request that the driver cannot take as it is, in a buffer that it can. */
typedef struct Bounce {
    int64_t offset, bytes; /* rounded out to the request alignment */
    struct iovec iov;
    IoSlice slice;
} Bounce;

static int bounce_init(Bounce *bounce, const BlockNode *node, int64_t offset, int64_t bytes)
{
    int64_t align = node->limits.request_alignment;

    bounce->offset = align_down(offset, align);
    bounce->bytes = align_up(offset + bytes, align) - bounce->offset;
    bounce->iov = (struct iovec){block_alloc(node, bounce->bytes), bounce->bytes};
    bounce->slice = io_slice(&bounce->iov, 1);
    return bounce->iov.iov_base ? 0 : -ENOMEM;
}

static void bounce_clear(Bounce *bounce)
{
    free(bounce->iov.iov_base);
}

static int read_by_bounce(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    Bounce bounce;
    int ret = bounce_init(&bounce, node, offset, data->len);

    if (ret == 0) {
        ret = tracked_read(node, bounce.offset, &bounce.slice, flags);
    }
    if (ret == 0) {
        io_slice_write(data, (char *)bounce.iov.iov_base + (offset - bounce.offset), data->len);
    }
    bounce_clear(&bounce);
    return ret;
}

static void raise_event(BlockNode *node, BlkdebugEvent event)
{
    if (node->driver->event) {
        node->driver->event(node, event);
    }
}

/* The first block of a bounce, or the last one, or the only one: what of it is to be kept. */
typedef struct Edge {
    int64_t offset, bytes;
    bool head, tail; /* there is something before the request's data, behind them */
} Edge;

/* With QEMU's events in its order, for blkdebug. */
static int read_edge(BlockNode *node, const Bounce *bounce, const Edge *edge)
{
    IoSlice blocks = io_slice_sub(&bounce->slice, edge->offset - bounce->offset, edge->bytes);
    int ret;

    if (edge->head) {
        raise_event(node, BLKDEBUG_EVENT_PWRITEV_RMW_HEAD);
    }
    if (edge->tail) {
        raise_event(node, BLKDEBUG_EVENT_PWRITEV_RMW_TAIL);
    }
    ret = co_driver_read(node, edge->offset, &blocks, 0);
    if (ret == 0 && edge->head) {
        raise_event(node, BLKDEBUG_EVENT_PWRITEV_RMW_AFTER_HEAD);
    }
    if (ret == 0 && edge->tail) {
        raise_event(node, BLKDEBUG_EVENT_PWRITEV_RMW_AFTER_TAIL);
    }
    return ret;
}

/*
 * Reads those of the first and the last block that the request covers only in part; together where
 * nothing lies between them.
 */
static int read_edges(BlockNode *node, const Bounce *bounce, int64_t offset, int64_t bytes)
{
    int64_t align = node->limits.request_alignment, end = bounce->offset + bounce->bytes;
    bool head = offset > bounce->offset, tail = offset + bytes < end;
    Edge first = {bounce->offset, align, head, false}, last = {end - align, align, false, tail};
    int ret = 0;

    if (bounce->bytes == align || (head && tail && bounce->bytes == 2 * align)) {
        first = (Edge){bounce->offset, bounce->bytes, head, tail};
        last.tail = false;
    }
    if (first.head || first.tail) {
        ret = read_edge(node, bounce, &first);
    }
    return ret == 0 && last.tail ? read_edge(node, bounce, &last) : ret;
}

/*
 * Reads the edges, puts the data between them and writes it all.  Serialising from before the
 * read to the end of the write, so that a write to the same block does not get lost.  @data NULL:
 * zeroes.
 */
static int change_by_bounce(BlockNode *node, BlockReqType type, int64_t offset, int64_t bytes,
                            const IoSlice *data, unsigned flags)
{
    BlockReq req;
    Bounce bounce;
    char *at;
    int ret = bounce_init(&bounce, node, offset, bytes);

    block_req_begin(&req, node, type, offset, bytes, flags);
    if (bounce.bytes != bytes || (flags & BLOCK_SERIALISING)) {
        co_block_req_serialise(&req, node->limits.request_alignment);
    } else {
        co_gate_wait_turn(&req);
    }
    if (ret == 0) {
        ret = read_edges(node, &bounce, offset, bytes);
    }
    if (ret == 0) {
        at = (char *)bounce.iov.iov_base + (offset - bounce.offset);
        if (data) {
            io_slice_read(data, at);
        } else {
            memset(at, 0, bytes);
        }
        req.type = BLOCK_REQ_WRITE;
        req.offset = bounce.offset;
        req.bytes = bounce.bytes;
        ret = change(&req, &bounce.slice, flags & ~(BLOCK_SERIALISING | BLOCK_MAY_UNMAP));
    }
    block_req_end(&req);
    bounce_clear(&bounce);
    return ret;
}

static bool memory_fits(const BlockNode *node, const IoSlice *data)
{
    return node->limits.min_mem_alignment <= 1 ||
           io_slice_is_aligned(data, node->limits.min_mem_alignment);
}

/*
 * An unaligned write-zeroes: its two edges by bounce, the middle as it is.  One that must be fast
 * begins with the middle, which may be refused: nothing is changed then.
 */
static int zero_unaligned(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    int64_t align = node->limits.request_alignment;
    int64_t start = align_up(offset, align), end = align_down(offset + bytes, align);
    bool middle_first = flags & BLOCK_NO_FALLBACK;
    unsigned edge_flags = flags & ~BLOCK_NO_FALLBACK;
    int ret = 0;

    if (start >= end) {
        return change_by_bounce(node, BLOCK_REQ_WRITE_ZEROES, offset, bytes, NULL, edge_flags);
    }
    if (middle_first) {
        ret = tracked_change(node, BLOCK_REQ_WRITE_ZEROES, start, end - start, NULL, flags);
    }
    if (ret == 0 && offset < start) {
        ret = change_by_bounce(node, BLOCK_REQ_WRITE_ZEROES, offset, start - offset, NULL,
                               edge_flags);
    }
    if (ret == 0 && !middle_first) {
        ret = tracked_change(node, BLOCK_REQ_WRITE_ZEROES, start, end - start, NULL, flags);
    }
    if (ret == 0 && end < offset + bytes) {
        ret = change_by_bounce(node, BLOCK_REQ_WRITE_ZEROES, end, offset + bytes - end, NULL,
                               edge_flags);
    }
    return ret;
}

/* --- the ways in -------------------------------------------------------------------------- */

/*
 * A node that takes requests in larger units than the one below it asks for its last unit as a
 * whole; what lies behind the end reads as zeroes.
 */
static bool is_over_end(const BlockChild *child, int64_t offset, int64_t bytes)
{
    int64_t left = child->node->size - offset;

    return child->parent && offset >= 0 && left >= 0 && bytes > left &&
           bytes - left < child->parent->limits.request_alignment;
}

static int read_over_end(BlockChild *child, int64_t offset, const IoSlice *data, unsigned flags)
{
    int64_t inside = child->node->size - offset;
    IoSlice part = io_slice_sub(data, 0, inside);
    int ret = inside ? co_block_read(child, offset, &part, flags) : 0;

    part = io_slice_sub(data, inside, data->len - inside);
    io_slice_zero(&part);
    return ret;
}

int co_block_read(BlockChild *child, int64_t offset, const IoSlice *data, unsigned flags)
{
    BlockNode *node = child->node;
    int ret = gate_check_range(node, offset, data->len);

    if (G_UNLIKELY(ret < 0 && is_over_end(child, offset, data->len))) {
        return read_over_end(child, offset, data, flags);
    }
    if (ret < 0 || data->len == 0) {
        return ret;
    }
    gate_enter(node);
    if (gate_fits_alignment(node, offset, data->len) && memory_fits(node, data)) {
        ret = tracked_read(node, offset, data, flags);
    } else {
        ret = read_by_bounce(node, offset, data, flags);
    }
    gate_leave(node);
    return ret;
}

static int zero_request(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    if (!node->options.discard_unmap) {
        flags &= ~BLOCK_MAY_UNMAP;
    }
    return gate_fits_alignment(node, offset, bytes)
               ? tracked_change(node, BLOCK_REQ_WRITE_ZEROES, offset, bytes, NULL, flags)
               : zero_unaligned(node, offset, bytes, flags);
}

/* detect-zeroes: a write of zeroes becomes a write-zeroes. */
static bool detected_zeroes(const BlockNode *node, const IoSlice *data)
{
    return node->options.detect_zeroes != BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF &&
           io_slice_is_zero(data);
}

int co_block_write(BlockChild *child, int64_t offset, const IoSlice *data, unsigned flags)
{
    BlockNode *node = child->node;
    int ret = gate_check_change(child, offset, data->len, flags);

    if (ret < 0 || data->len == 0) {
        return ret;
    }
    gate_enter(node);
    if (G_UNLIKELY(detected_zeroes(node, data))) {
        bool unmap = node->options.detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP;

        ret = zero_request(node, offset, data->len, flags | (unmap ? BLOCK_MAY_UNMAP : 0));
    } else if (gate_fits_alignment(node, offset, data->len) && memory_fits(node, data)) {
        ret = tracked_change(node, BLOCK_REQ_WRITE, offset, data->len, data, flags);
    } else {
        ret = change_by_bounce(node, BLOCK_REQ_WRITE, offset, data->len, data, flags);
    }
    gate_leave(node);
    return ret;
}

int co_block_write_zeroes(BlockChild *child, int64_t offset, int64_t bytes, unsigned flags)
{
    int ret = gate_check_change(child, offset, bytes, flags);

    if (ret < 0 || bytes == 0) {
        return ret;
    }
    gate_enter(child->node);
    ret = zero_request(child->node, offset, bytes, flags);
    gate_leave(child->node);
    return ret;
}

/*
 * A discard is advice: where the node ignores discards or its driver has none it succeeds, and
 * what does not cover whole blocks of the request alignment is left out.
 */
int co_block_discard(BlockChild *child, int64_t offset, int64_t bytes)
{
    BlockNode *node = child->node;
    int64_t start, end;
    int ret = gate_check_change(child, offset, bytes, 0);

    if (ret < 0 || !node->options.discard_unmap) {
        return ret;
    }
    start = align_up(offset, node->limits.request_alignment);
    end = align_down(offset + bytes, node->limits.request_alignment);
    if (start >= end) {
        return 0;
    }
    gate_enter(node);
    ret = tracked_change(node, BLOCK_REQ_DISCARD, start, end - start, NULL, 0);
    gate_leave(node);
    return ret;
}

int co_block_read_buf(BlockChild *child, int64_t offset, void *buf, size_t len)
{
    struct iovec iov = {buf, len};
    IoSlice data = io_slice(&iov, 1);

    return co_block_read(child, offset, &data, 0);
}

int co_block_write_buf(BlockChild *child, int64_t offset, const void *buf, size_t len,
                       unsigned flags)
{
    struct iovec iov = {(void *)buf, len};
    IoSlice data = io_slice(&iov, 1);

    return co_block_write(child, offset, &data, flags);
}
