/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that the daemon makes for itself; see scratch-dir.h. */
#include "block/scratch-dir.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/worker.h"
#include "util/error.h"

/* The process's: set at start and never changed. */
static struct {
    char *path;
} folder;

bool scratch_dir_set(const char *path, GError **errp)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        return tm_error_set_errno(errp, errno, "Cannot use the scratch folder '%s'", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        return tm_error_set(errp, "Cannot use the scratch folder '%s': it is no folder", path);
    }
    g_free(folder.path);
    folder.path = g_canonicalize_filename(path, NULL); /* --daemonize leaves the working folder */
    return true;
}

const char *scratch_dir(void)
{
    const char *tmp = g_getenv("TMPDIR");

    return folder.path ? folder.path : tmp && *tmp ? tmp : "/var/tmp";
}

/* --- in a worker --- */

/* Where the file system does not take direct I/O, or knows no files without a name: without. */
static int open_unnamed(void *unused)
{
    g_autofree char *name = NULL;
    int fd = open(scratch_dir(), O_TMPFILE | O_RDWR | O_CLOEXEC | O_DIRECT, 0600);

    if (fd < 0 && errno == EINVAL) {
        fd = open(scratch_dir(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    }
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
        name = g_strdup_printf("%s/tidemark-XXXXXX", scratch_dir());
        fd = g_mkstemp_full(name, O_RDWR | O_CLOEXEC, 0600);
        if (fd >= 0) {
            unlink(name);
        }
    }
    return fd < 0 ? -errno : fd;
}

/*
 * What keeps nothing (a pipe, /dev/null) would do so with the only copy of old data; and a file
 * that is not empty is likely somebody's image.
 */
static int claim(int fd)
{
    struct stat st;

    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0) {
        return -errno;
    }
    if (!S_ISREG(st.st_mode)) {
        return S_ISBLK(st.st_mode) ? 0 : -ENOTSUP;
    }
    return st.st_size ? -EEXIST : 0;
}

/* A device must not be mounted: that is what O_EXCL means there. */
static int open_file(const char *path, int flags)
{
    struct stat st;
    bool is_device = stat(path, &st) == 0 && S_ISBLK(st.st_mode);

    return open(path, O_RDWR | O_CLOEXEC | (is_device ? O_EXCL : O_CREAT) | flags, 0600);
}

static int open_named(void *opaque)
{
    const char *path = opaque;
    int ret, fd = open_file(path, O_DIRECT);

    if (fd < 0 && errno == EINVAL) {
        fd = open_file(path, 0);
    }
    if (fd < 0) {
        return -errno;
    }
    ret = claim(fd);
    if (ret < 0) {
        close(fd);
    }
    return ret < 0 ? ret : fd;
}

/* A file with a name is left as it was found: empty. */
static int close_file(void *opaque)
{
    int fd = GPOINTER_TO_INT(opaque);
    struct stat st;

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && ftruncate(fd, 0) < 0) {
        g_warning("A staging file could not be emptied: %s", g_strerror(errno));
    }
    return close(fd);
}

int co_scratch_file(void)
{
    return co_in_worker(open_unnamed, NULL);
}

int co_scratch_file_named(const char *path)
{
    return co_in_worker(open_named, (void *)path);
}

void co_scratch_file_close(int fd)
{
    if (fd >= 0) {
        co_in_worker(close_file, GINT_TO_POINTER(fd)); /* nothing is lost that is needed */
    }
}
