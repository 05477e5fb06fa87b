/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * file and host_device: a regular file or a device of the host.
 *
 * This file opens and closes, and holds the tables; file-open.c finds what O_DIRECT needs,
 * file-io.c reads and writes, file-zero.c makes zeroes and holes, file-status.c finds them,
 * file-size.c measures and resizes, lock-bytes.c keeps other processes away.
 */
#include "block/drivers/file.h"
#include "block/drivers/drivers.h"
#include "io/worker.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static const char *driver_name(const BlockNode *node)
{
    return node->driver == &block_driver_host_device ? "host_device" : "file";
}

static bool check_options(const BlockNode *node, const BlockdevOptionsFile *o, GError **errp)
{
    if (!o->filename[0]) {
        return tm_error_set(errp, "The '%s' block driver requires a file name", driver_name(node));
    }
    if (o->has_aio && o->aio == BLOCKDEV_AIO_OPTIONS_NATIVE && !node->options.cache_direct) {
        return tm_error_set(errp, "aio=native was specified, but it requires cache.direct=on, "
                                  "which was not specified.");
    }
    return true;
}

static bool open_error(const BlockNode *node, const FileOpen *open, int error, GError **errp)
{
    if (open->wrong_kind) {
        return tm_error_set(errp, "'%s' driver requires '%s' to be %s", driver_name(node),
                            open->path,
                            open->device ? "either a character or block device" : "a regular file");
    }
    if (error == EINVAL && open->direct) {
        return tm_error_set(errp, "Could not open '%s': filesystem does not support O_DIRECT",
                            open->path);
    }
    return tm_error_set_errno(errp, error, "Could not open '%s'", open->path);
}

static bool wants_locks(const BlockdevOptionsFile *o, bool can_lock)
{
    switch (o->has_locking ? o->locking : ON_OFF_AUTO_AUTO) {
    case ON_OFF_AUTO_ON:
        return true;
    case ON_OFF_AUTO_OFF:
        return false;
    default:
        return can_lock;
    }
}

static bool co_file_open(BlockNode *node, const BlockdevOptionsFile *o, bool device, GError **errp)
{
    FileState *s = node->state;
    FileOpen open = {
        .path = o->filename,
        .device = device,
        .direct = node->options.cache_direct,
        .read_only = node->options.read_only,
        .auto_read_only = node->options.auto_read_only,
    };

    if (!check_options(node, o, errp)) {
        return false;
    }
    int ret = co_in_worker(file_open_worker, &open);
    if (ret < 0) {
        return open_error(node, &open, -ret, errp);
    }
    s->fd = open.fd;
    s->kind = open.kind;
    s->direct = open.direct;
    s->request_alignment = open.request_alignment;
    s->mem_alignment = open.mem_alignment;
    node->options.read_only = open.read_only;
    lock_bytes_init(&s->lock, s->fd, wants_locks(o, open.can_lock));
    g_free(node->filename);
    node->filename = g_strdup(o->filename);
    return true;
}

static bool file_co_open(BlockNode *node, const BlockdevOptions *options, GError **errp)
{
    return co_file_open(node, &options->u.file, false, errp);
}

static bool host_device_co_open(BlockNode *node, const BlockdevOptions *options, GError **errp)
{
    return co_file_open(node, &options->u.host_device, true, errp);
}

int file_close_worker(void *fd)
{
    struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

    /*
     * The ring may hold the file a moment longer; who opens the image next must not meet our locks.
     */
    (void)!fcntl(*(int *)fd, F_OFD_SETLK, &all);
    return close(*(int *)fd);
}

static void file_co_close(BlockNode *node)
{
    FileState *s = node->state;

    co_in_worker(file_close_worker, &s->fd);
    s->fd = -1;
}

static void file_refresh_limits(BlockNode *node)
{
    const FileState *s = node->state;

    node->limits.request_alignment = s->request_alignment;
    node->limits.min_mem_alignment = s->mem_alignment;
    node->limits.mem_alignment = MAX(s->mem_alignment, (uint32_t)sysconf(_SC_PAGESIZE));
    node->limits.max_iov = IOV_MAX;
}

static bool file_perm_check(BlockNode *node, unsigned perm, unsigned shared, GError **errp)
{
    FileState *s = node->state;

    return lock_bytes_check(&s->lock, perm, shared, errp);
}

static void file_perm_commit(BlockNode *node, unsigned perm, unsigned shared)
{
    FileState *s = node->state;

    lock_bytes_commit(&s->lock, perm, shared);
}

static void file_perm_abort(BlockNode *node)
{
    FileState *s = node->state;

    lock_bytes_abort(&s->lock);
}

static const BlockPermOps file_perm_ops = {
    .check = file_perm_check,
    .commit = file_perm_commit,
    .abort = file_perm_abort,
};

#define FILE_DRIVER_OPERATIONS                                                                     \
    .state_size = sizeof(FileState), .is_protocol = true, .co_close = file_co_close,               \
    .co_read = file_co_read, .co_write = file_co_write, .co_write_zeroes = file_co_write_zeroes,   \
    .co_discard = file_co_discard, .co_flush = file_co_flush,                                      \
    .co_block_status = file_co_block_status, .co_get_size = file_co_get_size,                      \
    .refresh_limits = file_refresh_limits, .supports_write_flags = BLOCK_FUA,                      \
    .supports_write_zeroes_flags = BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK,                            \
    .perm = &file_perm_ops, .reopen = &file_reopen_ops

const BlockDriver block_driver_file = {
    .id = BLOCKDEV_DRIVER_FILE,
    .co_open = file_co_open,
    .co_copy_range_from = file_co_copy_range_from,
    .co_copy_range_to = file_co_copy_range_to,
    .image = &file_image_ops,
    FILE_DRIVER_OPERATIONS,
};

const BlockDriver block_driver_host_device = {
    .id = BLOCKDEV_DRIVER_HOST_DEVICE,
    .co_open = host_device_co_open,
    .image = &host_device_image_ops,
    FILE_DRIVER_OPERATIONS,
};
