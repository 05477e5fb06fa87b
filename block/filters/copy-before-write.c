/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * copy-before-write: a filter that saves the old bytes of what is about to be written.
 *
 * The filter is policy only: what is saved, where it is kept, and who waits is the BlockCopy's.  It
 * is staged: what was saved is moved to the target by a job's copier, or else by the filter's own
 * leaver.  Only on-cbw-error=break-guest-write, given explicitly, has it write through to its
 * target with QEMU's rules for failures.
 */
#include "block/filters/cbw-int.h"
#include "block/filters/copy-before-write.h"
#include "block/filters/filters.h"
#include "util/range.h"

/* Requests that touch pending blocks go on in pieces of this, so that what they hold is bounded. */
#define PIECE ((int64_t)1 << 20)

Leaver *cbw_node_leaver(const BlockNode *node)
{
    return ((CbwState *)node->state)->leaver;
}

BlockCopy *cbw_node_copy(const BlockNode *node)
{
    return node->driver == &block_driver_copy_before_write ? ((CbwState *)node->state)->copy : NULL;
}

static BlockCopy *copy_of(const BlockNode *node)
{
    return ((CbwState *)node->state)->copy;
}

/*
 * How much of a request goes on together: up to where a pending block lies further ahead than one
 * piece, or else one piece.
 */
static int64_t next_piece(const BlockCopy *copy, int64_t offset, int64_t bytes)
{
    int64_t at, cut = align_down(offset + PIECE, PIECE / 16);

    if (bytes <= PIECE || !block_copy_next_pending(copy, offset, bytes, &at)) {
        return bytes;
    }
    return MAX(at, cut) - offset;
}

static int cbw_co_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    BlockCopy *copy = copy_of(node);
    BlockCopyGuest guest;
    int ret;

    if (flags & BLOCK_BACKGROUND) {
        return co_block_read(node->file, offset, data, flags);
    }
    guest = block_copy_guest_begin(copy, true);
    ret = co_block_read(node->file, offset, data, flags);
    block_copy_guest_end(copy, &guest);
    return ret;
}

static int co_write_pieces(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    BlockCopy *copy = copy_of(node);
    int ret = 0;

    for (int64_t done = 0, n; done < (int64_t)data->len && ret == 0; done += n) {
        IoSlice piece;

        n = next_piece(copy, offset + done, data->len - done);
        piece = io_slice_sub(data, done, n);
        ret = co_block_copy_save(copy, offset + done, n);
        if (ret == 0) {
            ret = co_block_write(node->file, offset + done, &piece, flags);
        }
    }
    return ret;
}

static int cbw_co_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    BlockCopy *copy = copy_of(node);
    BlockCopyGuest guest;
    int ret;

    if (flags & BLOCK_WRITE_UNCHANGED) {
        return co_block_write(node->file, offset, data, flags);
    }
    guest = block_copy_guest_begin(copy, false);
    ret = co_write_pieces(node, offset, data, flags);
    block_copy_guest_end(copy, &guest);
    return ret;
}

static int cbw_co_write_zeroes(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    BlockCopy *copy = copy_of(node);
    int ret = 0;

    if (flags & BLOCK_WRITE_UNCHANGED) {
        return co_block_write_zeroes(node->file, offset, bytes, flags);
    }
    for (int64_t n; bytes > 0 && ret == 0; offset += n, bytes -= n) {
        n = next_piece(copy, offset, bytes);
        ret = co_block_copy_save(copy, offset, n);
        if (ret == 0) {
            ret = co_block_write_zeroes(node->file, offset, n, flags);
        }
    }
    return ret;
}

/*
 * A discard is advice: a staged copy leaves pending blocks out rather than read them.  Written
 * through, they are saved, as QEMU does.
 */
static int64_t discard_piece(const BlockCopy *copy, int64_t offset, int64_t bytes, bool *leave_out)
{
    int64_t at = offset + bytes;
    bool found = block_copy_next_pending(copy, offset, bytes, &at);

    *leave_out = false;
    if (!block_copy_is_staged(copy)) {
        return next_piece(copy, offset, bytes);
    }
    if (!found || at > offset) {
        return at - offset;
    }
    *leave_out = true;
    return block_copy_pending_run(copy, offset, bytes);
}

static int cbw_co_discard(BlockNode *node, int64_t offset, int64_t bytes)
{
    BlockCopy *copy = copy_of(node);
    int ret = 0;

    for (int64_t n; bytes > 0 && ret == 0; offset += n, bytes -= n) {
        bool leave_out;

        n = discard_piece(copy, offset, bytes, &leave_out);
        if (!leave_out) {
            ret = co_block_copy_save(copy, offset, n);
            if (ret == 0) {
                ret = co_block_discard(node->file, offset, n);
            }
        }
    }
    return ret;
}

static void cbw_fill_info(const BlockNode *node, BlockDeviceInfo *info)
{
    info->x_copy = block_copy_info(copy_of(node));
}

static bool cbw_settle(BlockNode *node)
{
    Leaver *leaver = cbw_node_leaver(node);

    return !leaver || leaver_settle(leaver);
}

/* What is staged gets to the target first. */
static void cbw_co_close(BlockNode *node)
{
    co_leaver_free(((CbwState *)node->state)->leaver);
    block_copy_free(copy_of(node));
}

/*
 * The source needs to be protected only when there is a guest above: its writes must come by here.
 */
static void source_perm(const BlockNode *node, unsigned *perm, unsigned *shared)
{
    const CbwState *s = node->state;

    if (node->parents->len) {
        *perm |= BLOCK_PERM_CONSISTENT_READ | (s->discard_source ? BLOCK_PERM_WRITE : 0);
        *shared &= ~(BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE);
    }
}

/*
 * QEMU's rules.  Others may write to the target: the guest's disk may lie in its backing chain.
 * Its size must stay.
 */
static void cbw_child_perm(BlockNode *node, BlockChild *child, unsigned role, unsigned perm,
                           unsigned shared, unsigned *child_perm, unsigned *child_shared)
{
    if (role & BLOCK_ROLE_FILTERED) {
        block_default_child_perm(node, child, role, perm, shared, child_perm, child_shared);
        source_perm(node, child_perm, child_shared);
    } else {
        *child_perm = BLOCK_PERM_WRITE;
        *child_shared = BLOCK_PERM_ALL & ~BLOCK_PERM_RESIZE;
    }
}

const BlockDriver block_driver_copy_before_write = {
    .id = BLOCKDEV_DRIVER_COPY_BEFORE_WRITE,
    .state_size = sizeof(CbwState),
    .is_filter = true,
    .co_open = cbw_co_open,
    .co_close = cbw_co_close,
    .co_read = cbw_co_read,
    .co_write = cbw_co_write,
    .co_write_zeroes = cbw_co_write_zeroes,
    .co_discard = cbw_co_discard,
    .child_perm = cbw_child_perm,
    .fill_info = cbw_fill_info,
    .settle = cbw_settle,
    .supports_write_flags = BLOCK_FUA | BLOCK_COMPRESSED,
    .supports_write_zeroes_flags = BLOCK_FUA | BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK,
};
