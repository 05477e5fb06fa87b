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
    folder.path = g_strdup(path);
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

/* What keeps nothing (a pipe, /dev/null) would do so with the only copy of old data. */
static int claim(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        return -ENOTSUP;
    }
    return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

static int open_named(void *opaque)
{
    const char *path = opaque;
    int ret, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_DIRECT, 0600);

    if (fd < 0 && errno == EINVAL) {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
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

static int close_file(void *opaque)
{
    return close(GPOINTER_TO_INT(opaque));
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
