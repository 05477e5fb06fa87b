/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Check and repair of the metadata. */
#ifndef BLOCK_DRIVERS_QCOW2_CHECK_H
#define BLOCK_DRIVERS_QCOW2_CHECK_H

#include "block/drivers/qcow2/qcow2.h"

#define QCOW2_FIX_LEAKS 1u
#define QCOW2_FIX_ERRORS 2u

/* The counts of qemu-img check. */
typedef struct Qcow2CheckResult {
    int64_t corruptions, leaks, check_errors;
    int64_t corruptions_fixed, leaks_fixed;
    int64_t image_end_offset;
    int64_t total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
} Qcow2CheckResult;

/*
 * Checks all metadata, and mends it by @fix.  The node is drained (or being opened), caches are
 * written and dropped first (co_qcow2_drop_caches), and what is cached of L1 and the refcount
 * table is valid afterwards.  Clears the dirty and corrupt bits where nothing is left to mend.
 * Lock held.  0 or -errno where the check itself could not be done.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_check(BlockNode *node, unsigned fix,
                                             Qcow2CheckResult *result);

#endif
