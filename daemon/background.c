/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The process as a whole; see background.h. */
#include "daemon/background.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/error.h"

/* The parent: the child's one byte says that all is well; otherwise it has said what is not. */
static void wait_for_child(int fd)
{
    char byte;
    ssize_t got;

    do {
        got = read(fd, &byte, 1);
    } while (got < 0 && errno == EINTR);
    _exit(got == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

int background_fork(GError **errp)
{
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        tm_error_set_errno(errp, errno, "cannot make a pipe");
        return -1;
    }
    pid = fork();
    if (pid < 0) {
        tm_error_set_errno(errp, errno, "cannot fork");
        close(fds[0]);
        close(fds[1]);
        return -1;
    }
    close(fds[pid ? 1 : 0]);
    if (pid) {
        wait_for_child(fds[0]);
    }
    setsid();
    return fds[1];
}

bool background_ready(int fd, GError **errp)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || chdir("/") < 0) {
        return tm_error_set_errno(errp, errno, "cannot go to the background");
    }
    for (int standard = 0; standard <= 2; standard++) {
        dup2(null, standard);
    }
    close(null);
    if (write(fd, "", 1) != 1) {
        return tm_error_set_errno(errp, errno, "cannot tell the parent process");
    }
    close(fd);
    return true;
}

/* Opens and locks the file; again when another process has removed it in between. */
static int open_locked(const char *path, GError **errp)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat ours, there;
    int fd;

    for (;;) {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) {
            tm_error_set_errno(errp, errno, "cannot create PID file: Could not create '%s'", path);
            return -1;
        }
        if (fcntl(fd, F_SETLK, &lock) < 0) {
            tm_error_set_errno(errp, errno, "cannot create PID file: Cannot lock pid file");
            close(fd);
            return -1;
        }
        if (fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino &&
            ours.st_dev == there.st_dev) {
            return fd;
        }
        close(fd);
    }
}

int pidfile_create(const char *path, GError **errp)
{
    int fd = open_locked(path, errp);

    if (fd < 0) {
        return -1;
    }
    if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0) {
        tm_error_set_errno(errp, errno, "cannot write PID file '%s'", path);
        close(fd);
        return -1;
    }
    return fd;
}

void pidfile_remove(const char *path, int fd)
{
    unlink(path);
    close(fd);
}
