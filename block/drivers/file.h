/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the file and host_device drivers share: file*.c only. */
#ifndef BLOCK_DRIVERS_FILE_H
#define BLOCK_DRIVERS_FILE_H

#include "block/driver.h"
#include "block/drivers/lock-bytes.h"

#include <sys/stat.h>

typedef struct FileState {
    int fd;
    mode_t kind;                /* S_IFREG, S_IFBLK or S_IFCHR */
    bool direct;                /* O_DIRECT */
    uint32_t request_alignment; /* of offsets and lengths, and of buffers, for O_DIRECT; else 1 */
    uint32_t mem_alignment;
    LockBytes lock;

    /* What the file system or device was found not to do. */
    bool no_discard; /* punch holes, BLKDISCARD */
    bool no_zero_range;
    bool no_fallocate;
    bool no_dsync_write;
    int sync_error; /* -errno of a failed sync: the page cache may have lost writes */

    /* A run of bytes that was found to be data, so that dense files are not asked for every
     * request. */
    int64_t data_start, data_end;
    unsigned data_gen; /* counts what may make holes: an answer older than that is not kept */
} FileState;

/* Opening (file-open.c): what is asked for, and what was found.  Blocks: in a worker. */
typedef struct FileOpen {
    const char *path;
    bool device; /* wants a device rather than a regular file */
    bool direct;
    bool read_only; /* also set where @auto_read_only made it so */
    bool auto_read_only;
    bool wrong_kind; /* out: exists, but is neither (returned -EINVAL) */
    int fd;          /* out */
    mode_t kind;
    uint32_t request_alignment, mem_alignment;
    bool can_lock;
} FileOpen;
int file_open_worker(void *opaque);

/* Closes it (an int *), and gives up its locks.  Blocks: in a worker. */
int file_close_worker(void *fd);

/* Length of the file or device in bytes, or -errno.  Does not block for long. */
int64_t file_length(int fd, mode_t kind);

/* I/O (file-io.c). */
int file_co_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags);
int file_co_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags);
int file_co_flush(BlockNode *node);

/* Copies by the host, from regular file to regular file (file-copy.c). */
int file_co_copy_range_from(BlockNode *node, int64_t offset, BlockChild *target,
                            int64_t target_offset, int64_t bytes);
int file_co_copy_range_to(BlockNode *node, int64_t offset, BlockNode *source,
                          int64_t source_offset, int64_t bytes);

/* Zeroes and holes (file-zero.c). */
int file_co_write_zeroes(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags);
int file_co_discard(BlockNode *node, int64_t offset, int64_t bytes);

/* What is data and what is hole (file-status.c). */
int file_co_block_status(BlockNode *node, bool want_zero, int64_t offset, int64_t bytes,
                         BlockStatus *status);
void file_forget_data(FileState *s);

/* Size (file-size.c). */
int64_t file_co_get_size(BlockNode *node);
extern const BlockImageOps file_image_ops, host_device_image_ops;

/* Sets a regular file's length (falloc, full: growing only).  Blocks: in a worker. */
int file_resize(int fd, int64_t old_size, int64_t size, PreallocMode prealloc, GError **errp);

/* Opening it again in another mode (file-reopen.c). */
extern const BlockReopenOps file_reopen_ops;

/* Making one (file-create.c). */
bool file_co_create(const BlockdevCreateOptions *options, GError **errp);

#endif
