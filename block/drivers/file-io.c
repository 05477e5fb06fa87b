/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads, writes and syncs of files and devices. */
#include "block/drivers/file.h"
#include "io/co-file.h"

#include <errno.h>

/* Does a transfer that stopped at @pos mean the end of the file? (O_DIRECT cannot go on inside of a
 * block.) */
static bool stopped_at_end(const FileState *s, int64_t pos)
{
    return pos % s->request_alignment != 0;
}

/* Reads all of @data; what lies behind the end of the file (whose length need not be aligned) is
 * zero. */
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

int file_co_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    return co_read_all(node->state, offset, data);
}

/*
 * After a failed sync of the page cache its pages count as clean, though they never reached the
 * disk: a later sync would tell that all is well.  So it stays an error.
 */
static int co_sync(FileState *s)
{
    if (s->sync_error) {
        return s->sync_error;
    }
    int ret = co_file_sync(s->fd, true);
    if (ret < 0 && !s->direct) {
        s->sync_error = ret;
    }
    return ret;
}

/*
 * A write that must be on stable storage.  Where the file system has no such write it is a write
 * and a sync.
 */
static int co_write_durably(FileState *s, int64_t offset, const IoSlice *data)
{
    int ret;

    if (!s->no_dsync_write) {
        ret = co_write_all(s, offset, data, RWF_DSYNC);
        if (ret == -EIO && !s->direct) {
            s->sync_error = ret; /* its pages may have held earlier writes, too: see co_sync() */
        }
        if (ret != -EOPNOTSUPP) {
            return ret;
        }
        s->no_dsync_write = true;
    }
    ret = co_write_all(s, offset, data, 0);
    return ret < 0 ? ret : co_sync(s);
}

int file_co_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    return flags & BLOCK_FUA ? co_write_durably(node->state, offset, data)
                             : co_write_all(node->state, offset, data, 0);
}

int file_co_flush(BlockNode *node)
{
    return co_sync(node->state);
}
