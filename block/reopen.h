/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Options of live nodes change: blockdev-reopen.
 *
 * All nodes of one call change together or none does, with their graphs drained: requests see the
 * old state or the new one.  Options that are absent go back to their defaults, as in QEMU; those
 * that a driver cannot change must be as they were (see BlockReopenOps in block/driver.h).
 * Children that were defined inside a node follow it; "backing" and "file" may name other nodes.
 */
#ifndef BLOCK_REOPEN_H
#define BLOCK_REOPEN_H

#include "block/node.h"

/*
 * @list: of BlockdevOptions, the new options of nodes that exist.  A node that is named twice gets
 * both, the later ones first.  Loop 0, control lock held; may yield.  Errors have QEMU's words.
 */
bool co_block_reopen(const GPtrArray *list, GError **errp);

#endif
