/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * File I/O from coroutines.  Each call queues one operation on the current loop's ring (or the
 * worker pool where that must do) and yields until it is done.  Results are -errno on failure.
 */
#ifndef IO_CO_FILE_H
#define IO_CO_FILE_H

#include "io/co.h"
#include "util/io-slice.h"

/*
 * Reads or writes slice->len bytes at @offset; returns the bytes done, short only for a read that
 * meets the end of the file (also for O_DIRECT where that is not aligned).  A write that failed
 * after a part was written returns the error.
 */
G_GNUC_WARN_UNUSED_RESULT ssize_t co_file_read(int fd, int64_t offset, const IoSlice *data);
/* @rwf: 0 or RWF_DSYNC. */
G_GNUC_WARN_UNUSED_RESULT ssize_t co_file_write(int fd, int64_t offset, const IoSlice *data,
                                                int rwf);

/* fdatasync() where @data_only, else fsync(). */
G_GNUC_WARN_UNUSED_RESULT int co_file_sync(int fd, bool data_only);

G_GNUC_WARN_UNUSED_RESULT int co_file_fallocate(int fd, int mode, int64_t offset, int64_t bytes);

#endif
