/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests of the nbd driver, as libnbd's asynchronous commands; see nbd.h. */
#include "block/drivers/nbd.h"
#include "block/node-io.h"

#include <errno.h>
#include <stdlib.h>

/* Called by libnbd, under its lock: inside of nbdc_conn_update()'s callers or of the issue itself.
 */
static int completed(void *opaque, int *error)
{
    NbdcCommand *cmd = opaque;

    cmd->error = *error;
    cmd->done = true;
    co_sleep_wake(&cmd->sleep);
    return 1; /* libnbd forgets it */
}

/* Runs @cmd on @conn; *lost: it failed because the connection did. */
static int co_run_on(NbdcConn *conn, NbdcCommand *cmd, bool *lost)
{
    cmd->done = false;
    cmd->error = 0;
    cmd->sleep = (CoSleep){0};
    int64_t cookie = cmd->issue(conn->h, cmd,
                                (nbd_completion_callback){.callback = completed, .user_data = cmd});
    int refused = cookie < 0 ? nbd_get_errno() : 0;

    nbdc_conn_update(conn);
    if (cookie < 0) {
        *lost = conn->dead;
        return refused ? -refused : -EIO;
    }
    if (!cmd->done) {
        co_sleep_until(&cmd->sleep, INT64_MAX);
    }
    g_assert(cmd->done);
    *lost = cmd->error && conn->dead;
    return -cmd->error;
}

static int co_run(BlockNode *node, NbdcCommand *cmd)
{
    NbdcClient *c = node->state;
    NbdcConn *conn;

    /* Nobody waits for the flush that comes with closing: it is not to hold up blockdev-del. */
    while ((conn = co_nbdc_client_get(c, node->refcount > 0))) {
        bool lost;
        int ret = co_run_on(conn, cmd, &lost);

        nbdc_conn_unref(conn);
        if (!lost) {
            return ret;
        }
    }
    return -EIO;
}

int co_nbdc_command(BlockNode *node, NbdcCommand *cmd)
{
    NbdcClient *c = node->state;

    co_semaphore_acquire(&c->slots, 1);
    int ret = co_run(node, cmd);
    co_semaphore_release(&c->slots, 1);
    return ret;
}

/* --- reads and writes --------------------------------------------------------------------- */

static int64_t issue_read(struct nbd_handle *h, NbdcCommand *cmd, nbd_completion_callback done)
{
    return nbd_aio_pread(h, cmd->buf, cmd->bytes, cmd->offset, done, 0);
}

static int64_t issue_write(struct nbd_handle *h, NbdcCommand *cmd, nbd_completion_callback done)
{
    return nbd_aio_pwrite(h, cmd->buf, cmd->bytes, cmd->offset, done, cmd->flags);
}

/* libnbd takes one buffer: that of a slice which has only one, else NULL. */
static void *single_buffer(const IoSlice *data)
{
    struct iovec iov;
    size_t covered;

    io_slice_to_iov(data, &iov, 1, &covered);
    return covered == data->len ? iov.iov_base : NULL;
}

static int co_read_bounced(BlockNode *node, NbdcCommand *cmd, const IoSlice *data)
{
    cmd->buf = block_alloc(node, cmd->bytes);
    if (!cmd->buf) {
        return -ENOMEM;
    }
    int ret = co_nbdc_command(node, cmd);
    if (ret == 0) {
        io_slice_write(data, cmd->buf, cmd->bytes);
    }
    free(cmd->buf);
    return ret;
}

int nbdc_co_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    const NbdcClient *c = node->state;
    /* The last block of an export whose size is not in whole blocks reads as zeroes behind its end.
     */
    size_t there = CLAMP(c->info.size - offset, 0, (int64_t)data->len);
    IoSlice rest = io_slice_sub(data, there, data->len - there);
    IoSlice part = io_slice_sub(data, 0, there);
    NbdcCommand cmd = {.issue = issue_read, .offset = offset, .bytes = there};

    io_slice_zero(&rest);
    if (there == 0) {
        return 0;
    }
    cmd.buf = single_buffer(&part);
    return cmd.buf ? co_nbdc_command(node, &cmd) : co_read_bounced(node, &cmd, &part);
}

static int co_write_bounced(BlockNode *node, NbdcCommand *cmd, const IoSlice *data)
{
    cmd->buf = block_alloc(node, cmd->bytes);
    if (!cmd->buf) {
        return -ENOMEM;
    }
    io_slice_read(data, cmd->buf);
    int ret = co_nbdc_command(node, cmd);
    free(cmd->buf);
    return ret;
}

/* FUA as the command's flag, or as a flush behind it where the server knows no FUA. */
static uint32_t fua_flag(const NbdcClient *c, unsigned flags)
{
    return (flags & BLOCK_FUA) && c->info.can_fua ? LIBNBD_CMD_FLAG_FUA : 0;
}

static int co_flush_for_fua(BlockNode *node, unsigned flags, int ret)
{
    const NbdcClient *c = node->state;

    return ret == 0 && (flags & BLOCK_FUA) && !c->info.can_fua ? nbdc_co_flush(node) : ret;
}

int nbdc_co_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    NbdcCommand cmd = {
        .issue = issue_write,
        .buf = single_buffer(data),
        .offset = offset,
        .bytes = data->len,
        .flags = fua_flag(node->state, flags),
    };
    int ret = cmd.buf ? co_nbdc_command(node, &cmd) : co_write_bounced(node, &cmd, data);

    return co_flush_for_fua(node, flags, ret);
}

/* --- without data ------------------------------------------------------------------------- */

static int64_t issue_zero(struct nbd_handle *h, NbdcCommand *cmd, nbd_completion_callback done)
{
    return nbd_aio_zero(h, cmd->bytes, cmd->offset, done, cmd->flags);
}

static int64_t issue_trim(struct nbd_handle *h, NbdcCommand *cmd, nbd_completion_callback done)
{
    return nbd_aio_trim(h, cmd->bytes, cmd->offset, done, 0);
}

static int64_t issue_flush(struct nbd_handle *h, NbdcCommand *cmd, nbd_completion_callback done)
{
    return nbd_aio_flush(h, done, 0);
}

int nbdc_co_write_zeroes(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    const NbdcClient *c = node->state;
    bool fast = flags & BLOCK_NO_FALLBACK;
    NbdcCommand cmd = {
        .issue = issue_zero,
        .offset = offset,
        .bytes = bytes,
        .flags = fua_flag(c, flags) | (flags & BLOCK_MAY_UNMAP ? 0 : LIBNBD_CMD_FLAG_NO_HOLE) |
                 (fast ? LIBNBD_CMD_FLAG_FAST_ZERO : 0),
    };

    if (!c->info.can_zero || (fast && !c->info.can_fast_zero)) {
        return -ENOTSUP;
    }
    return co_flush_for_fua(node, flags, co_nbdc_command(node, &cmd));
}

int nbdc_co_discard(BlockNode *node, int64_t offset, int64_t bytes)
{
    const NbdcClient *c = node->state;
    NbdcCommand cmd = {.issue = issue_trim, .offset = offset, .bytes = bytes};

    return c->info.can_trim ? co_nbdc_command(node, &cmd) : -ENOTSUP;
}

/* A server that knows no flush has no cache that could lose anything. */
int nbdc_co_flush(BlockNode *node)
{
    const NbdcClient *c = node->state;
    NbdcCommand cmd = {.issue = issue_flush};

    return c->info.can_flush ? co_nbdc_command(node, &cmd) : 0;
}
