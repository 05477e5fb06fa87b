/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of files in the header (backing-name.c). */
#ifndef BLOCK_DRIVERS_QCOW2_NAMES_H
#define BLOCK_DRIVERS_QCOW2_NAMES_H

#include "block/drivers/qcow2/qcow2.h"

/* The path that a name in the image's header means.  Freed by the caller. */
char *qcow2_resolve_name(const BlockNode *node, const char *name);

/* Options that open the file or block device at @path.  Freed by the caller. */
BlockdevOptions *qcow2_file_options(const char *path);

#endif
