/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Overlays that are made for a node: the image, and the node on it (blockdev-snapshot-sync). */
#ifndef BLOCK_OVERLAY_H
#define BLOCK_OVERLAY_H

#include "block/node.h"

/*
 * Makes an image of @format in the file @name, as large as @node, whose header names @node's file
 * (by its absolute path) and format.  Loop 0, control lock not held.  May yield.
 */
bool co_block_overlay_make(const char *name, const char *format, const BlockNode *node,
                           GError **errp);

/*
 * The options of the node on it: used as @node is (cache, discard), without a backing file; freed
 * by the caller.  May yield.
 */
BlockdevOptions *co_block_overlay_options(const char *name, const char *format,
                                          const char *node_name, const BlockNode *node,
                                          GError **errp);

#endif
