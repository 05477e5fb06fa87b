/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * raw: the bytes of a file as they are, or of a window (offset, size) in it.
 *
 * Without a window it is nearly a filter; it is a driver of its own so that a raw image can be told
 * from the file that holds it.
 */
#include "block/drivers/blkdebug.h"
#include "block/drivers/drivers.h"
#include "block/node-io.h"
#include "util/error.h"

#include <errno.h>

typedef struct RawState {
    int64_t offset; /* of the window in the file */
    int64_t size;   /* of the window, where has_size */
    bool has_size;
} RawState;

static bool raw_check_option(const char *name, bool has, int64_t value, GError **errp)
{
    if (has && value < 0) {
        return tm_error_set(errp, "Value '%" PRId64 "' is out of range for parameter '%s'", value,
                            name);
    }
    return true;
}

/* Does the window fit into the file? */
static bool raw_check_window(const RawState *s, int64_t file_size, GError **errp)
{
    if (file_size < s->offset) {
        return tm_error_set(errp,
                            "Offset (%" PRId64 ") cannot be greater than size of the containing "
                            "file (%" PRId64 ")",
                            s->offset, file_size);
    }
    if (s->has_size && file_size - s->offset < s->size) {
        return tm_error_set(errp,
                            "The sum of offset (%" PRId64 ") and size (%" PRId64 ") has to be "
                            "smaller or equal to the  actual size of the containing file "
                            "(%" PRId64 ")",
                            s->offset, s->size, file_size);
    }
    /* The node's size is in whole sectors: a window that ends within one would leak the rest. */
    if (s->has_size && s->size % BLOCK_SECTOR) {
        return tm_error_set(errp, "Specified size is not multiple of %d", BLOCK_SECTOR);
    }
    return true;
}

static bool raw_co_open(BlockNode *node, const BlockdevOptions *options, GError **errp)
{
    const BlockdevOptionsRaw *o = &options->u.raw;
    RawState *s = node->state;

    if (!raw_check_option("offset", o->has_offset, o->offset, errp) ||
        !raw_check_option("size", o->has_size, o->size, errp)) {
        return false;
    }
    s->offset = o->has_offset ? o->offset : 0;
    s->has_size = o->has_size;
    s->size = o->has_size ? o->size : 0;

    bool window = s->offset || s->has_size;
    unsigned role = BLOCK_ROLE_PRIMARY | (window ? BLOCK_ROLE_DATA : BLOCK_ROLE_FILTERED);
    if (!co_block_open_child(node, o->file, "file", role, errp)) {
        return false;
    }
    return raw_check_window(s, node->file->node->size, errp);
}

static int raw_co_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    const RawState *s = node->state;

    blkdebug_event(node->file, BLKDEBUG_EVENT_READ_AIO);
    return co_block_read(node->file, s->offset + offset, data, flags);
}

static int raw_co_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    const RawState *s = node->state;

    blkdebug_event(node->file, BLKDEBUG_EVENT_WRITE_AIO);
    return co_block_write(node->file, s->offset + offset, data, flags);
}

static int raw_co_write_zeroes(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    const RawState *s = node->state;

    return co_block_write_zeroes(node->file, s->offset + offset, bytes, flags);
}

static int raw_co_discard(BlockNode *node, int64_t offset, int64_t bytes)
{
    const RawState *s = node->state;

    return co_block_discard(node->file, s->offset + offset, bytes);
}

/* The gate flushes the file. */
static int raw_co_flush(BlockNode *node)
{
    blkdebug_event(node->file, BLKDEBUG_EVENT_FLUSH_TO_OS);
    blkdebug_event(node->file, BLKDEBUG_EVENT_FLUSH_TO_DISK);
    return 0;
}

static int raw_co_block_status(BlockNode *node, bool want_zero, int64_t offset, int64_t bytes,
                               BlockStatus *status)
{
    const RawState *s = node->state;

    *status = (BlockStatus){
        .flags = BLOCK_STATUS_RAW,
        .bytes = bytes,
        .map = s->offset + offset,
        .file = node->file->node,
    };
    return 0;
}

static int raw_co_copy_range_from(BlockNode *node, int64_t offset, BlockChild *target,
                                  int64_t target_offset, int64_t bytes)
{
    const RawState *s = node->state;

    return co_block_copy_range(node->file, s->offset + offset, target, target_offset, bytes);
}

static int raw_co_copy_range_to(BlockNode *node, int64_t offset, BlockNode *source,
                                int64_t source_offset, int64_t bytes)
{
    const RawState *s = node->state;

    return co_block_copy_range_to(source, source_offset, node->file, s->offset + offset, bytes);
}

/* The file may have changed its size since the window was checked. */
static int64_t raw_co_get_size(BlockNode *node)
{
    const RawState *s = node->state;
    int64_t rest = MAX(node->file->node->size - s->offset, 0);

    return s->has_size ? MIN(s->size, rest) : rest;
}

/* The file pads what it needs aligned, so that a client of ours need not. */
static void raw_refresh_limits(BlockNode *node)
{
    node->limits.request_alignment = 1;
}

static int raw_co_truncate(BlockNode *node, int64_t size, bool exact, PreallocMode prealloc,
                           GError **errp)
{
    const RawState *s = node->state;

    if (s->has_size) {
        tm_error_set(errp, "Cannot resize fixed-size raw disks");
        return -ENOTSUP;
    }
    if (INT64_MAX - s->offset < size) {
        tm_error_set(errp, "Disk size too large for the chosen offset");
        return -EINVAL;
    }
    return co_block_truncate(node->file, s->offset + size, exact, prealloc, errp) ? 0 : -EIO;
}

static int64_t raw_co_allocated_size(BlockNode *node)
{
    const BlockNode *below = node->file->node;

    if (!below->driver->image || !below->driver->image->co_allocated_size) {
        return -ENOTSUP;
    }
    return below->driver->image->co_allocated_size(node->file->node);
}

/*
 * The defaults may take write and resize permission for an image file's sake; raw has no metadata
 * and needs them only where its parents do.
 */
static void raw_child_perm(BlockNode *node, BlockChild *child, unsigned role, unsigned perm,
                           unsigned shared, unsigned *child_perm, unsigned *child_shared)
{
    const unsigned changes = BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE;

    block_default_child_perm(node, child, role, perm, shared, child_perm, child_shared);
    *child_perm = (*child_perm & ~changes) | (perm & changes);
}

/* --- reopening: the window may change ----------------------------------------------------- */

static void raw_set_role(BlockNode *node, const RawState *s)
{
    bool window = s->offset || s->has_size;

    node->file->role = BLOCK_ROLE_PRIMARY | (window ? BLOCK_ROLE_DATA : BLOCK_ROLE_FILTERED);
}

static bool raw_read_options(RawState *s, const BlockdevOptionsRaw *o, GError **errp)
{
    *s = (RawState){
        .offset = o->has_offset ? o->offset : 0,
        .size = o->has_size ? o->size : 0,
        .has_size = o->has_size,
    };
    return raw_check_option("offset", o->has_offset, o->offset, errp) &&
           raw_check_option("size", o->has_size, o->size, errp);
}

static bool raw_co_prepare(BlockNode *node, const BlockdevOptions *given,
                           const BlockOptions *before, void **state, GError **errp)
{
    RawState *s = node->state, new;

    if (!raw_read_options(&new, &given->u.raw, errp) ||
        !raw_check_window(&new, node->file->node->size, errp)) {
        return false;
    }
    *state = g_memdup2(s, sizeof(*s));
    *s = new;
    raw_set_role(node, s);
    return true;
}

static void raw_co_commit(BlockNode *node, void *state)
{
    g_free(state);
}

/* The edge may be the new one still: its role is the same as the old one's. */
static void raw_co_abort(BlockNode *node, void *state)
{
    RawState *s = node->state, *old = state;

    *s = *old;
    raw_set_role(node, s);
    g_free(old);
}

static const char *const raw_reopen_options[] = { "offset", "size", NULL };

static const BlockReopenOps raw_reopen_ops = {
    .options = raw_reopen_options,
    .co_prepare = raw_co_prepare,
    .co_commit = raw_co_commit,
    .co_abort = raw_co_abort,
};

static const BlockImageOps raw_image_ops = {
    .co_truncate = raw_co_truncate,
    .co_allocated_size = raw_co_allocated_size,
};

const BlockDriver block_driver_raw = {
    .id = BLOCKDEV_DRIVER_RAW,
    .state_size = sizeof(RawState),
    .co_open = raw_co_open,
    .co_read = raw_co_read,
    .co_write = raw_co_write,
    .co_write_zeroes = raw_co_write_zeroes,
    .co_discard = raw_co_discard,
    .co_flush = raw_co_flush,
    .co_block_status = raw_co_block_status,
    .co_copy_range_from = raw_co_copy_range_from,
    .co_copy_range_to = raw_co_copy_range_to,
    .co_get_size = raw_co_get_size,
    .refresh_limits = raw_refresh_limits,
    .child_perm = raw_child_perm,
    .supports_write_flags = BLOCK_FUA,
    .supports_write_zeroes_flags = BLOCK_FUA | BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK,
    .image = &raw_image_ops,
    .reopen = &raw_reopen_ops,
};
