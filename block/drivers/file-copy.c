/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copies from file to file by copy_file_range(2): shared blocks where the file system has them. */
#include "block/drivers/drivers.h"
#include "block/drivers/file.h"
#include "block/node-io.h"
#include "io/worker.h"

#include <errno.h>
#include <unistd.h>

typedef struct FileCopy {
    int from, to;
    off_t from_offset, to_offset;
    size_t bytes;
} FileCopy;

/* Nothing copied means that the source ends here: its last block may not be whole. */
static int copy_worker(void *opaque)
{
    FileCopy *f = opaque;

    while (f->bytes > 0) {
        ssize_t n = copy_file_range(f->from, &f->from_offset, f->to, &f->to_offset, f->bytes, 0);

        if (n == 0) {
            return -ENOTSUP;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        f->bytes -= MAX(n, 0);
    }
    return 0;
}

int file_co_copy_range_from(BlockNode *node, int64_t offset, BlockChild *target,
                            int64_t target_offset, int64_t bytes)
{
    return co_block_copy_range_to(node, offset, target, target_offset, bytes);
}

/* A hole of the source becomes one here. */
int file_co_copy_range_to(BlockNode *node, int64_t offset, BlockNode *source,
                          int64_t source_offset, int64_t bytes)
{
    FileState *s = node->state;
    const FileState *from = source->state;
    FileCopy copy;
    int ret;

    if (source->driver != &block_driver_file) {
        return -ENOTSUP;
    }
    copy = (FileCopy){ from->fd, s->fd, source_offset, offset, bytes };
    file_forget_data(s);
    ret = co_in_worker(copy_worker, &copy);
    file_forget_data(s);
    return ret;
}
