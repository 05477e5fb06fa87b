/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The driver's options, checked against the image, and put into its state. */
#ifndef BLOCK_DRIVERS_QCOW2_OPTIONS_H
#define BLOCK_DRIVERS_QCOW2_OPTIONS_H

#include "block/drivers/qcow2/qcow2.h"

/* s->header and the geometry are there.  Makes the caches. */
bool qcow2_options_apply(BlockNode *node, const BlockdevOptionsQcow2 *options, GError **errp);

/* Changing them while the image is open.  reopen.c */
extern const BlockReopenOps qcow2_reopen_ops;

/* Frees what is cached and has not been used for a while (cache-clean-interval).  cleaner.c */
void qcow2_cleaner_start(BlockNode *node);   /* runs on node->loop from then on */
void co_qcow2_cleaner_stop(BlockNode *node); /* on node->loop; gone when it returns */

#endif
