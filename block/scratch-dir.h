/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The folder for files that the daemon makes for itself (--scratch-dir). */
#ifndef BLOCK_SCRATCH_DIR_H
#define BLOCK_SCRATCH_DIR_H

#include <glib.h>
#include <stdbool.h>

/* At start; an error where it is no folder.  Default: $TMPDIR, or /var/tmp. */
bool scratch_dir_set(const char *path, GError **errp);
const char *scratch_dir(void);

/*
 * A new file there, without a name, open for reading and writing, past the page cache where the
 * file system can.  Returns the descriptor, or -errno.
 */
G_GNUC_WARN_UNUSED_RESULT int co_scratch_file(void);

/*
 * The same for a file that the user names (empty, or made where there is none) or a block device
 * that is not mounted; locked.
 */
G_GNUC_WARN_UNUSED_RESULT int co_scratch_file_named(const char *path);

/* Empties and closes one of them (or -1: none); that may take long. */
void co_scratch_file_close(int fd);

#endif
