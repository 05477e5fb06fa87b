/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening files and devices, and finding out which alignment O_DIRECT needs.  All of it blocks. */
#include "block/drivers/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PROBE_MAX 4096

static int try_open(const FileOpen *open_, bool read_only)
{
    int flags = O_CLOEXEC | (read_only ? O_RDONLY : O_RDWR) | (open_->direct ? O_DIRECT : 0);
    int fd = open(open_->path, flags);

    return fd < 0 ? -errno : fd;
}

static bool right_kind(const FileOpen *open, mode_t mode)
{
    return open->device ? S_ISBLK(mode) || S_ISCHR(mode) : S_ISREG(mode);
}

/* A FIFO is found before it is opened: opening one waits for its other end. */
static bool is_fifo(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
}

static int open_any(FileOpen *open)
{
    if (is_fifo(open->path)) {
        open->wrong_kind = true;
        return -EINVAL;
    }
    int fd = try_open(open, open->read_only);
    if ((fd == -EACCES || fd == -EROFS) && !open->read_only && open->auto_read_only) {
        fd = try_open(open, true);
        open->read_only = fd >= 0;
    }
    return fd;
}

/* The kernel's own word on it, where it has one (Linux 6.1 and some file systems; block devices).
 */
static void ask_kernel(int fd, mode_t kind, uint32_t *request, uint32_t *mem)
{
#ifdef STATX_DIOALIGN
    struct statx stx;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
        (stx.stx_mask & STATX_DIOALIGN) && stx.stx_dio_offset_align) {
        *request = stx.stx_dio_offset_align;
        *mem = stx.stx_dio_mem_align;
    }
#endif
    int sector;
    if (!*request && S_ISBLK(kind) && ioctl(fd, BLKSSZGET, &sector) == 0 && sector > 0) {
        *request = sector;
    }
}

static bool can_read(int fd, void *buf, size_t len)
{
    return pread(fd, buf, len, 0) >= 0 || errno != EINVAL;
}

/*
 * Finds by reads what the kernel did not tell.  Where reads of one byte work nothing is known (the
 * file may be empty), and the largest usual alignment is safe.
 */
static bool probe_by_reading(int fd, uint32_t *request, uint32_t *mem)
{
    char *buf;

    if (posix_memalign((void **)&buf, PROBE_MAX, 2 * PROBE_MAX) != 0) {
        return false;
    }
    for (uint32_t align = 1; !*request && align <= PROBE_MAX;
         align = align == 1 ? 512 : align * 2) {
        if (can_read(fd, buf, align)) {
            *request = align == 1 ? PROBE_MAX : align;
        }
    }
    for (uint32_t align = 1; !*mem && align <= PROBE_MAX; align = align == 1 ? 512 : align * 2) {
        if (can_read(fd, buf + align, PROBE_MAX)) {
            *mem = align == 1 ? PROBE_MAX : align;
        }
    }
    free(buf);
    return *request && *mem;
}

static bool find_alignment(FileOpen *open)
{
    open->request_alignment = open->mem_alignment = open->direct ? 0 : 1;
    if (!open->direct || S_ISCHR(open->kind)) {
        open->request_alignment = open->mem_alignment = 1;
        return true;
    }
    ask_kernel(open->fd, open->kind, &open->request_alignment, &open->mem_alignment);
    return probe_by_reading(open->fd, &open->request_alignment, &open->mem_alignment);
}

static int examine(FileOpen *open)
{
    struct stat st;

    if (fstat(open->fd, &st) < 0) {
        return -errno;
    }
    if (!right_kind(open, st.st_mode)) {
        open->wrong_kind = true;
        return -EINVAL;
    }
    open->kind = st.st_mode & S_IFMT;
    if (!find_alignment(open)) {
        return -EINVAL;
    }
    open->can_lock = lock_bytes_supported(open->fd);
    int64_t length = file_length(open->fd, open->kind);
    return MIN(length, 0);
}

int file_open_worker(void *opaque)
{
    FileOpen *open = opaque;

    open->fd = open_any(open);
    if (open->fd < 0) {
        return open->fd;
    }
    int ret = examine(open);
    if (ret < 0) {
        close(open->fd);
        open->fd = -1;
    }
    return ret;
}
