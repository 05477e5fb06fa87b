/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files that an image names in its header: its backing file, or a data file.
 *
 * A name comes from a stranger.  A chain may not lead back to an image above, nor be longer than
 * BLOCK_MAX_CHAIN; and see block/image-folders.h.
 */
#ifndef BLOCK_BACKING_H
#define BLOCK_BACKING_H

#include "block/node.h"

#define BLOCK_MAX_CHAIN 200 /* layers that are opened by name */

/*
 * Opens @name, of format @format (NULL: found out by what is in it, qcow2 or raw), as the backing
 * file of @node, for reading, and attaches it as "backing".  While @node is opened, whose own file
 * is open already.  Loop 0, control lock.
 */
bool co_block_open_backing(BlockNode *node, const char *name, const char *format, GError **errp);

/*
 * What @node's image names as a file beside it (a data file), as options of a protocol; freed by
 * the caller.
 */
BlockdevOptions *co_block_named_file_options(const BlockNode *node, const char *name,
                                             GError **errp);

#endif
