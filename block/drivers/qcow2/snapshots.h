/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The internal snapshot table: read at open, so that check, resize and overlap checks know of it.
 */
#ifndef BLOCK_DRIVERS_QCOW2_SNAPSHOTS_H
#define BLOCK_DRIVERS_QCOW2_SNAPSHOTS_H

#include "block/drivers/qcow2/qcow2.h"

bool co_qcow2_snapshots_open(BlockNode *node, GError **errp);
void qcow2_snapshots_close(BlockNode *node);

#endif
