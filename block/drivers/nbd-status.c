/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Block status of the nbd driver, from the meta context that was asked for; see nbd.h. */
#include "block/drivers/nbd.h"

#include <errno.h>
#include <string.h>

/* Bits of base:allocation (NBD protocol, "Metadata context").  Those of other contexts mean what
 * they may: QEMU reads them alike, so that a dirty bitmap's "dirty" shows as a hole. */
#define STATE_HOLE 1
#define STATE_ZERO 2

#define MIN_WINDOW (1 << 20)

/* Keeps the first extent of the context that counts. */
static void keep_first(NbdcCommand *cmd, const char *context, uint64_t offset, uint64_t bytes,
                       uint64_t flags)
{
    if (strcmp(context, cmd->context) == 0 && offset == cmd->offset) {
        cmd->extent_bytes = bytes;
        cmd->extent_flags = flags;
    }
}

#ifdef HAVE_LIBNBD_EXTENDED
static int got_extents(void *opaque, const char *context, uint64_t offset, nbd_extent *entries,
                       size_t n_entries, int *error)
{
    if (n_entries >= 1) {
        keep_first(opaque, context, offset, entries[0].length, entries[0].flags);
    }
    return 0;
}

static int64_t issue_status(struct nbd_handle *h, NbdcCommand *cmd, nbd_completion_callback done)
{
    nbd_extent64_callback extent = {.callback = got_extents, .user_data = cmd};

    cmd->extent_bytes = 0;
    return nbd_aio_block_status_64(h, cmd->bytes, cmd->offset, extent, done,
                                   LIBNBD_CMD_FLAG_REQ_ONE);
}
#else
/* @entries holds pairs of length and flags. */
static int got_extents(void *opaque, const char *context, uint64_t offset, uint32_t *entries,
                       size_t n_entries, int *error)
{
    if (n_entries >= 2) {
        keep_first(opaque, context, offset, entries[0], entries[1]);
    }
    return 0;
}

static int64_t issue_status(struct nbd_handle *h, NbdcCommand *cmd, nbd_completion_callback done)
{
    nbd_extent_callback extent = {.callback = got_extents, .user_data = cmd};

    cmd->extent_bytes = 0;
    return nbd_aio_block_status(h, cmd->bytes, cmd->offset, extent, done, LIBNBD_CMD_FLAG_REQ_ONE);
}
#endif

/* Servers have been seen to answer in parts of their own blocks: such a rest counts as data. */
static void clean_extent(NbdcCommand *cmd, uint64_t align)
{
    if (cmd->extent_bytes % align == 0) {
        return;
    }
    if (cmd->extent_bytes > align) {
        cmd->extent_bytes -= cmd->extent_bytes % align;
    } else {
        cmd->extent_bytes = align;
        cmd->extent_flags = 0;
    }
}

static unsigned status_flags(const NbdcClient *c, uint64_t flags)
{
    /* More than one layer deep is still below the top: neither data of it nor nothing. */
    if (strcmp(c->context, "qemu:allocation-depth") == 0 && flags > 2) {
        flags = 2;
    }
    return (flags & STATE_HOLE ? 0 : BLOCK_STATUS_DATA) |
           (flags & STATE_ZERO ? BLOCK_STATUS_ZERO : 0);
}

/*
 * How much to ask for.  Some servers look through all of it although one extent is wanted; so it is
 * much only while extents are long.
 */
static int64_t window(const NbdcClient *c, int64_t align)
{
    return CLAMP(c->status_window, MAX(MIN_WINDOW, align), c->info.max_range / align * align);
}

static void adapt_window(NbdcClient *c, int64_t asked, uint64_t extent)
{
    int64_t more = asked <= INT64_MAX / 4 ? asked * 4 : INT64_MAX;

    c->status_window = extent < (uint64_t)asked ? (int64_t)extent : more;
}

static int co_ask(BlockNode *node, int64_t offset, int64_t bytes, BlockStatus *status)
{
    NbdcClient *c = node->state;
    int64_t align = node->limits.request_alignment;
    NbdcCommand cmd = {
        .issue = issue_status,
        .context = c->context,
        .offset = offset,
        .bytes = MIN(MIN(bytes, c->info.size - offset), window(c, align)),
    };
    int ret = co_nbdc_command(node, &cmd);

    if (ret < 0) {
        return ret;
    }
    if (cmd.extent_bytes == 0) {
        return -EIO; /* the server broke the protocol */
    }
    clean_extent(&cmd, align);
    adapt_window(c, cmd.bytes, cmd.extent_bytes);
    status->flags = BLOCK_STATUS_OFFSET_VALID | status_flags(c, cmd.extent_flags);
    status->bytes = MIN(cmd.extent_bytes, (uint64_t)bytes);
    return 0;
}

int nbdc_co_block_status(BlockNode *node, bool want_zero, int64_t offset, int64_t bytes,
                         BlockStatus *status)
{
    const NbdcClient *c = node->state;

    *status = (BlockStatus){
        .flags = BLOCK_STATUS_OFFSET_VALID | BLOCK_STATUS_DATA,
        .bytes = bytes,
        .map = offset,
        .file = node,
    };
    if (offset >= c->info.size) {
        status->flags = BLOCK_STATUS_ZERO;
        return 0;
    }
    return c->info.can_status ? co_ask(node, offset, bytes, status) : 0;
}
