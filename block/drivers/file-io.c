/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads, writes and syncs of files and devices. */
#include "block/drivers/file.h"
#include "block/node-io.h"
#include "io/co-file.h"

#include <errno.h>
#include <stdlib.h>

/* Does a transfer that stopped at @pos mean the end of the file? (O_DIRECT cannot go on inside of a block.) */
static bool stopped_at_end(const FileState *s, int64_t pos)
{
    return pos % s->request_alignment != 0;
}

/* Reads all of @data; what lies behind the end of the file (whose length need not be aligned) is zero. */
static int co_read_all(const FileState *s, int64_t offset, const IoSlice *data)
{
    size_t done = 0;

    while (done < data->len) {
        IoSlice rest = io_slice_sub(data, done, data->len - done);
        ssize_t n = co_file_read(s->fd, offset + done, &rest);
        if (n == -EINTR) {
            continue;
        }
        if (n < 0) {
            return n;
        }
        done += n;
        if (n == 0 || stopped_at_end(s, offset + done)) {
            break;
        }
    }
    if (done < data->len) {
        IoSlice rest = io_slice_sub(data, done, data->len - done);
        io_slice_zero(&rest);
    }
    return 0;
}

static int co_write_all(const FileState *s, int64_t offset, const IoSlice *data, int rwf)
{
    size_t done = 0;

    while (done < data->len) {
        IoSlice rest = io_slice_sub(data, done, data->len - done);
        ssize_t n = co_file_write(s->fd, offset + done, &rest, rwf);
        if (n == -EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? n : -ENOSPC;
        }
        done += n;
    }
    return 0;
}

static bool needs_bounce(const FileState *s, const IoSlice *data)
{
    return s->direct && s->mem_alignment > 1 && !io_slice_is_aligned(data, s->mem_alignment);
}

static int co_read_bounced(BlockNode *node, int64_t offset, const IoSlice *data)
{
    void *buf = block_alloc(node, data->len);
    if (!buf) {
        return -ENOMEM;
    }
    struct iovec iov = {.iov_base = buf, .iov_len = data->len};
    IoSlice bounce = io_slice(&iov, 1);
    int ret = co_read_all(node->state, offset, &bounce);
    if (ret == 0) {
        io_slice_write(data, buf, data->len);
    }
    free(buf);
    return ret;
}

int file_co_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    const FileState *s = node->state;

    return needs_bounce(s, data) ? co_read_bounced(node, offset, data)
                                 : co_read_all(s, offset, data);
}

/*
 * A write that must be on stable storage.  Where the file system has no such write it is a write and a
 * sync.
 */
static int co_write_durably(FileState *s, int64_t offset, const IoSlice *data)
{
    if (!s->no_dsync_write) {
        int ret = co_write_all(s, offset, data, RWF_DSYNC);
        if (ret != -EOPNOTSUPP) {
            /* The sync may have covered pages of earlier writes, which now are lost but count as clean. */
            if (ret == -EIO && !s->direct) {
                s->sync_error = ret;
            }
            return ret;
        }
        s->no_dsync_write = true;
    }
    int ret = co_write_all(s, offset, data, 0);
    return ret < 0 ? ret : co_file_sync(s->fd, true);
}

static int co_write_aligned(FileState *s, int64_t offset, const IoSlice *data, unsigned flags)
{
    return flags & BLOCK_FUA ? co_write_durably(s, offset, data)
                             : co_write_all(s, offset, data, 0);
}

static int co_write_bounced(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    void *buf = block_alloc(node, data->len);
    if (!buf) {
        return -ENOMEM;
    }
    io_slice_read(data, buf);
    struct iovec iov = {.iov_base = buf, .iov_len = data->len};
    IoSlice bounce = io_slice(&iov, 1);
    int ret = co_write_aligned(node->state, offset, &bounce, flags);
    free(buf);
    return ret;
}

int file_co_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    FileState *s = node->state;

    return needs_bounce(s, data) ? co_write_bounced(node, offset, data, flags)
                                 : co_write_aligned(s, offset, data, flags);
}

/*
 * After a failed sync of the page cache its pages count as clean, though they never reached the disk: a
 * later sync would tell that all is well.  So it stays an error.
 */
int file_co_flush(BlockNode *node)
{
    FileState *s = node->state;

    if (s->sync_error) {
        return s->sync_error;
    }
    int ret = co_file_sync(s->fd, true);
    if (ret < 0 && !s->direct) {
        s->sync_error = ret;
    }
    return ret;
}
