/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making files (blockdev-create of driver "file").  All of it blocks: it runs in a worker. */
#include "block/drivers/file.h"
#include "io/worker.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEFAULT_EXTENT_SIZE_HINT (1u << 20)

typedef struct FileCreate {
    const BlockdevCreateOptionsFile *options;
    int fd;
    GError *error;
} FileCreate;

static PreallocMode prealloc_mode(const BlockdevCreateOptionsFile *o)
{
    return o->has_preallocation ? o->preallocation : PREALLOC_MODE_OFF;
}

/* Hints to the file system: what it does not know it need not follow. */
static void set_hints(int fd, const BlockdevCreateOptionsFile *o)
{
    struct fsxattr attr;
    int flags;

    if (o->has_nocow && o->nocow && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        flags |= FS_NOCOW_FL;
        ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attr) == 0) {
        uint64_t hint = o->has_extent_size_hint ? o->extent_size_hint : DEFAULT_EXTENT_SIZE_HINT;
        attr.fsx_extsize = MIN(hint, UINT32_MAX);
        attr.fsx_xflags |= FS_XFLAG_EXTSIZE;
        if (hint) {
            ioctl(fd, FS_IOC_FSSETXATTR, &attr);
        }
    }
}

/* A file that is there is emptied, once nobody else who locks it minds. */
static bool empty(FileCreate *c, LockBytes *lock)
{
    if (!lock_bytes_check(lock, BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE,
                          BLOCK_PERM_ALL & ~BLOCK_PERM_RESIZE, &c->error)) {
        g_prefix_error(&c->error, "Is another process using the image [%s]? ",
                       c->options->filename);
        return false;
    }
    lock_bytes_commit(lock, BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE,
                      BLOCK_PERM_ALL & ~BLOCK_PERM_RESIZE);
    return ftruncate(c->fd, 0) == 0 ||
           tm_error_set_errno(&c->error, errno, "Could not resize file");
}

static bool set_length(FileCreate *c)
{
    int ret;

    if (c->options->size > INT64_MAX) {
        return tm_error_set_errno(&c->error, EINVAL, "Could not resize file");
    }
    ret = file_resize(c->fd, 0, c->options->size, prealloc_mode(c->options), &c->error);
    return ret == 0;
}

static bool fill(FileCreate *c)
{
    LockBytes lock;
    bool ok;

    lock_bytes_init(&lock, c->fd, lock_bytes_supported(c->fd));
    ok = empty(c, &lock);
    if (ok) {
        set_hints(c->fd, c->options);
        ok = set_length(c);
    }
    lock_bytes_commit(&lock, 0, BLOCK_PERM_ALL);
    return ok;
}

static int create_worker(void *opaque)
{
    FileCreate *c = opaque;
    bool ok;

    c->fd = open(c->options->filename, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (c->fd < 0) {
        tm_error_set_errno(&c->error, errno, "Could not create '%s'", c->options->filename);
        return -1;
    }
    ok = fill(c);
    if (close(c->fd) < 0 && ok) {
        ok = tm_error_set_errno(&c->error, errno, "Could not close the new file");
    }
    return ok ? 0 : -1;
}

bool file_co_create(const BlockdevCreateOptions *options, GError **errp)
{
    FileCreate c = { .options = &options->u.file };

    if (prealloc_mode(c.options) == PREALLOC_MODE_METADATA) {
        return tm_error_set(errp, "Unsupported preallocation mode: %s",
                            PreallocMode_name(PREALLOC_MODE_METADATA));
    }
    if (co_in_worker(create_worker, &c) < 0) {
        g_propagate_error(errp, c.error);
        return false;
    }
    return true;
}
