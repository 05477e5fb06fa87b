/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The process as a whole: going to the background, and the file that tells its id. */
#ifndef DAEMON_BACKGROUND_H
#define DAEMON_BACKGROUND_H

#include <glib.h>
#include <stdbool.h>

/*
 * Forks; returns in the child, a session of its own, with a descriptor for background_ready().  The
 * parent waits for that, or exits with status 1 when the child ends without it.  Before any thread
 * or ring exists. -1 with an error.
 */
int background_fork(GError **errp);

/* Lets the parent exit with status 0, and lets go of the folder and of standard input and output.
 */
bool background_ready(int fd, GError **errp);

/*
 * Writes the process's id to @path, and locks it for as long as the process lives.  The descriptor,
 * or -1 with an error.
 */
int pidfile_create(const char *path, GError **errp);

/* Removes it.  @path must be absolute after background_ready(). */
void pidfile_remove(const char *path, int fd);

#endif
