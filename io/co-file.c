/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* File I/O from coroutines; see co-file.h. */
#include "io/co-file.h"

#include <errno.h>

#include "io/co-private.h"
#include "io/iov-window.h"

#define MAX_LEN (1024 * 1024 * 1024)  /* of one buffer in one operation, whose length has 32 bits */
#define SHORT_OF_MEMORY_NS 1000000    /* wait after -EAGAIN, which a regular file gives only then */

/* Is the operation to be tried again? */
static bool co_try_again(int res)
{
    if (res == -EAGAIN) {
        co_sleep_ns(SHORT_OF_MEMORY_NS);
    }
    return res == -EAGAIN || res == -EINTR;
}

static void prepare(struct io_uring_sqe *sqe, int fd, int64_t offset, const IovWindow *window,
                    int rwf, bool write)
{
    const struct iovec *iov = window->iov;
    unsigned len = (unsigned)MIN(iov->iov_len, MAX_LEN);

    if (window->niov > 1) {
        if (write) {
            io_uring_prep_writev(sqe, fd, iov, window->niov, (uint64_t)offset);
        } else {
            io_uring_prep_readv(sqe, fd, iov, window->niov, (uint64_t)offset);
        }
    } else if (write) {
        io_uring_prep_write(sqe, fd, iov->iov_base, len, (uint64_t)offset);
    } else {
        io_uring_prep_read(sqe, fd, iov->iov_base, len, (uint64_t)offset);
    }
    sqe->rw_flags = rwf;
}

/* One operation on as much of @data as fits in it. */
static int co_transfer_once(int fd, int64_t offset, const IoSlice *data, int rwf, bool write)
{
    IovWindow window;
    CoOp op;
    int res;

    iov_window_open(&window, data);
    do {
        struct io_uring_sqe *sqe = co_op_sqe();

        prepare(sqe, fd, offset, &window, rwf, write);
        res = co_op_run(&op, sqe);
    } while (co_try_again(res));
    iov_window_close(&window);
    return res;
}

/*
 * A file opened with O_DIRECT refuses to read on from where its end cut a read short, as that is
 * not aligned: then the end it is.
 */
static bool is_direct_end(int res, size_t done, bool write)
{
    return res == -EINVAL && done && !write;
}

static ssize_t co_transfer(int fd, int64_t offset, const IoSlice *data, int rwf, bool write)
{
    size_t done = 0;

    while (done < data->len) {
        IoSlice rest = io_slice_sub(data, done, data->len - done);
        int res = co_transfer_once(fd, offset + (int64_t)done, &rest, rwf, write);

        if (res == 0 && write) {
            return -EIO;
        }
        if (res == 0 || is_direct_end(res, done, write)) {
            break;
        }
        if (res < 0) {
            return res;
        }
        done += (size_t)res;
    }
    return (ssize_t)done;
}

ssize_t co_file_read(int fd, int64_t offset, const IoSlice *data)
{
    return co_transfer(fd, offset, data, 0, false);
}

ssize_t co_file_write(int fd, int64_t offset, const IoSlice *data, int rwf)
{
    return co_transfer(fd, offset, data, rwf, true);
}

int co_file_sync(int fd, bool data_only)
{
    CoOp op;
    int res;

    do {
        struct io_uring_sqe *sqe = co_op_sqe();

        io_uring_prep_fsync(sqe, fd, data_only ? IORING_FSYNC_DATASYNC : 0);
        res = co_op_run(&op, sqe);
    } while (co_try_again(res));
    return res;
}

int co_file_fallocate(int fd, int mode, int64_t offset, int64_t bytes)
{
    CoOp op;
    int res;

    do {
        struct io_uring_sqe *sqe = co_op_sqe();

        io_uring_prep_fallocate(sqe, fd, mode, offset, bytes);
        res = co_op_run(&op, sqe);
    } while (co_try_again(res));
    return res;
}
