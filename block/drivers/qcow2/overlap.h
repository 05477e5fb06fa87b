/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Overlap checks: nothing is written over metadata, whatever the tables of a damaged image say. */
#ifndef BLOCK_DRIVERS_QCOW2_OVERLAP_H
#define BLOCK_DRIVERS_QCOW2_OVERLAP_H

#include "block/drivers/qcow2/qcow2.h"

/*
 * May [offset, offset + bytes) of the image file be written?  @ignore: Qcow2Area bits that may be
 * there (the kind that is being written).  0; where not, the image is marked corrupt, and -EIO.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_check_overlap(BlockNode *node, unsigned ignore,
                                                     int64_t offset, int64_t bytes);

/*
 * L1 or the refcount table refers to a new table at @offset; or they were changed as a whole
 * (check, close).
 */
void qcow2_overlap_add_table(Qcow2State *s, int64_t offset);
void qcow2_overlap_forget_tables(Qcow2State *s);

/* The areas (Qcow2Area bits) that the option overlap-check names; NULL: the default. */
unsigned qcow2_overlap_option(const Qcow2OverlapChecks *options);

#endif
