/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Size of files and devices: what it is, what is allocated, and changing it. */
#include "block/drivers/file.h"
#include "block/drivers/drivers.h"
#include "io/worker.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ZERO_CHUNK 65536

int64_t file_length(int fd, mode_t kind)
{
    if (S_ISBLK(kind)) {
        uint64_t bytes;
        if (ioctl(fd, BLKGETSIZE64, &bytes) == 0) {
            return MIN(bytes, INT64_MAX);
        }
    }
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0) {
        return errno == ESPIPE && S_ISCHR(kind) ? 0 : -errno;
    }
    return end;
}

int64_t file_co_get_size(BlockNode *node)
{
    const FileState *s = node->state;
    int64_t length = file_length(s->fd, s->kind);

    return length < 0 ? length : block_whole_sectors(length);
}

typedef struct Resize {
    int fd;
    int64_t old_size, size;
    PreallocMode prealloc;
    GError *error;
} Resize;

static int fail(Resize *r, int error, const char *what)
{
    tm_error_set_errno(&r->error, error, "%s", what);
    return -error;
}

static int set_size(Resize *r)
{
    return ftruncate(r->fd, r->size) < 0 ? fail(r, errno, "Failed to resize file") : 0;
}

static int write_new_zeroes(Resize *r)
{
    static const char zeroes[ZERO_CHUNK];

    for (int64_t pos = r->old_size; pos < r->size;) {
        ssize_t n = pwrite(r->fd, zeroes, MIN(ZERO_CHUNK, r->size - pos), pos);
        if (n < 0 && errno != EINTR) {
            return fail(r, errno, "Could not write zeros for preallocation");
        }
        pos += MAX(n, 0);
    }
    return fsync(r->fd) < 0 ? fail(r, errno, "Could not flush file to disk") : 0;
}

static int preallocate(Resize *r)
{
    if (r->prealloc == PREALLOC_MODE_FULL) {
        int ret = set_size(r);
        return ret < 0 ? ret : write_new_zeroes(r);
    }
    /* posix_fallocate() would write where the file system cannot reserve: that is what "full" is
     * for. */
    if (r->size > r->old_size && fallocate(r->fd, 0, r->old_size, r->size - r->old_size) < 0) {
        return fail(r, errno, "Could not preallocate data");
    }
    return 0;
}

static int resize_worker(void *opaque)
{
    Resize *r = opaque;

    if (r->prealloc == PREALLOC_MODE_OFF) {
        return ftruncate(r->fd, r->size) < 0 ? fail(r, errno, "Could not resize file") : 0;
    }
    int ret = preallocate(r);
    if (ret < 0 && ftruncate(r->fd, r->old_size) < 0) {
        g_prefix_error(&r->error,
                       "Failed to restore old file length (%s) after: ", g_strerror(errno));
    }
    return ret;
}

int file_resize(int fd, int64_t old_size, int64_t size, PreallocMode prealloc, GError **errp)
{
    Resize r = {.fd = fd, .old_size = old_size, .size = size, .prealloc = prealloc};
    int ret = resize_worker(&r);

    if (ret < 0) {
        g_propagate_error(errp, r.error);
    }
    return ret;
}

static int co_resize_file(FileState *s, int64_t size, PreallocMode prealloc, GError **errp)
{
    Resize r = {.fd = s->fd, .size = size, .prealloc = prealloc};

    r.old_size = file_length(s->fd, s->kind);
    if (r.old_size < 0) {
        tm_error_set_errno(errp, -r.old_size, "Could not inquire file size");
        return r.old_size;
    }
    if (prealloc == PREALLOC_MODE_METADATA) {
        tm_error_set(errp, "Unsupported preallocation mode '%s'", PreallocMode_name(prealloc));
        return -ENOTSUP;
    }
    if (prealloc != PREALLOC_MODE_OFF && size < r.old_size) {
        tm_error_set(errp, "Cannot use preallocation for shrinking files");
        return -ENOTSUP;
    }
    int ret = co_in_worker(resize_worker, &r);
    if (ret < 0) {
        g_propagate_error(errp, r.error);
    }
    return ret;
}

static int check_device_resize(const FileState *s, int64_t size, bool exact, PreallocMode prealloc,
                               GError **errp)
{
    int64_t length = file_length(s->fd, s->kind);

    if (prealloc != PREALLOC_MODE_OFF) {
        tm_error_set(errp, "Preallocation mode '%s' unsupported for this non-regular file",
                     PreallocMode_name(prealloc));
        return -ENOTSUP;
    }
    if (size != length && exact) {
        tm_error_set(errp, "Cannot resize device files");
        return -ENOTSUP;
    }
    if (size > length) {
        tm_error_set(errp, "Cannot grow device files");
        return -EINVAL;
    }
    return 0;
}

static int file_co_truncate(BlockNode *node, int64_t size, bool exact, PreallocMode prealloc,
                            GError **errp)
{
    FileState *s = node->state;

    if (!S_ISREG(s->kind)) {
        return check_device_resize(s, size, exact, prealloc, errp);
    }
    file_forget_data(s);
    int ret = co_resize_file(s, size, prealloc, errp);
    file_forget_data(s);
    return ret;
}

typedef struct Allocated {
    int fd;
    int64_t bytes;
} Allocated;

static int stat_worker(void *opaque)
{
    Allocated *a = opaque;
    struct stat st;

    if (fstat(a->fd, &st) < 0) {
        return -errno;
    }
    a->bytes = (int64_t)st.st_blocks * 512;
    return 0;
}

static int64_t file_co_allocated_size(BlockNode *node)
{
    const FileState *s = node->state;
    Allocated a = {.fd = s->fd};
    int ret = co_in_worker(stat_worker, &a);

    return ret < 0 ? ret : a.bytes;
}

const BlockImageOps file_image_ops = {
    .co_truncate = file_co_truncate,
    .co_allocated_size = file_co_allocated_size,
    .co_create = file_co_create,
};

const BlockImageOps host_device_image_ops = {
    .co_truncate = file_co_truncate,
    .co_allocated_size = file_co_allocated_size,
};
