/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Zeroes and holes in files and devices, by fallocate and BLKDISCARD. */
#include "block/drivers/file.h"
#include "io/co-file.h"
#include "io/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

/* The many ways in which kernels say that they cannot. */
static int not_supported(int ret)
{
    switch (-ret) {
    case ENODEV:
    case ENOSYS:
    case ENOTTY:
    case EOPNOTSUPP:
        return -ENOTSUP;
    default:
        return ret;
    }
}

/* One attempt; what turns out not to be there is remembered in *missing and not tried again. */
static int co_try_fallocate(const FileState *s, int mode, int64_t offset, int64_t bytes,
                            bool *missing)
{
    int ret;

    if (*missing) {
        return -ENOTSUP;
    }
    do {
        ret = not_supported(co_file_fallocate(s->fd, mode, offset, bytes));
    } while (ret == -EINTR);
    *missing = ret == -ENOTSUP;
    return ret;
}

/* File systems refuse what is not aligned to their blocks with EINVAL; others are busy. */
static bool try_another_way(int ret)
{
    return ret == -ENOTSUP || ret == -EINVAL || ret == -EBUSY;
}

/* Leaves no hole: punches one (which makes zeroes), and allocates it again. */
static int co_punch_and_allocate(FileState *s, int64_t offset, int64_t bytes)
{
    if (s->no_fallocate) {
        return -ENOTSUP;
    }
    int ret = co_try_fallocate(s, PUNCH, offset, bytes, &s->no_discard);
    return ret < 0 ? ret : co_try_fallocate(s, 0, offset, bytes, &s->no_fallocate);
}

static int co_zero_file(FileState *s, int64_t offset, int64_t bytes)
{
    int ret = co_try_fallocate(s, FALLOC_FL_ZERO_RANGE, offset, bytes, &s->no_zero_range);

    return try_another_way(ret) ? co_punch_and_allocate(s, offset, bytes) : ret;
}

/* On devices the kernel writes zeroes itself where the device cannot: not for who asked for the
 * fast way. */
static int co_zero_device(FileState *s, int64_t offset, int64_t bytes, unsigned flags)
{
    if (flags & BLOCK_NO_FALLBACK) {
        return -ENOTSUP;
    }
    return co_try_fallocate(s, FALLOC_FL_ZERO_RANGE, offset, bytes, &s->no_zero_range);
}

static int co_make_zero(FileState *s, int64_t offset, int64_t bytes, unsigned flags)
{
    if (flags & BLOCK_MAY_UNMAP) {
        int ret = co_try_fallocate(s, PUNCH, offset, bytes, &s->no_discard);
        if (!try_another_way(ret)) {
            return ret;
        }
    }
    return S_ISREG(s->kind) ? co_zero_file(s, offset, bytes)
                            : co_zero_device(s, offset, bytes, flags);
}

int file_co_write_zeroes(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    FileState *s = node->state;

    file_forget_data(s);
    int ret = co_make_zero(s, offset, bytes, flags);
    file_forget_data(s);
    return try_another_way(ret) ? -ENOTSUP : ret;
}

typedef struct DeviceDiscard {
    int fd;
    uint64_t range[2]; /* as BLKDISCARD takes it: start, length */
} DeviceDiscard;

static int discard_worker(void *opaque)
{
    DeviceDiscard *d = opaque;

    while (ioctl(d->fd, BLKDISCARD, d->range) < 0) {
        if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static int co_discard_device(FileState *s, int64_t offset, int64_t bytes)
{
    DeviceDiscard d = {.fd = s->fd, .range = {offset, bytes}};

    if (s->no_discard) {
        return -ENOTSUP;
    }
    int ret = not_supported(co_in_worker(discard_worker, &d));
    s->no_discard = ret == -ENOTSUP;
    return ret;
}

int file_co_discard(BlockNode *node, int64_t offset, int64_t bytes)
{
    FileState *s = node->state;

    file_forget_data(s);
    int ret = S_ISREG(s->kind) ? co_try_fallocate(s, PUNCH, offset, bytes, &s->no_discard)
                               : co_discard_device(s, offset, bytes);
    file_forget_data(s);
    return try_another_way(ret) ? -ENOTSUP : ret;
}
