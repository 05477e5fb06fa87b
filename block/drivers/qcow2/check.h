/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Check and repair of the metadata. */
#ifndef BLOCK_DRIVERS_QCOW2_CHECK_H
#define BLOCK_DRIVERS_QCOW2_CHECK_H

#include "block/check-result.h"
#include "block/drivers/qcow2/qcow2.h"

#define QCOW2_FIX_LEAKS BLOCK_FIX_LEAKS
#define QCOW2_FIX_ERRORS BLOCK_FIX_ERRORS

typedef BlockCheckResult Qcow2CheckResult;

/*
 * The operation co_check of the driver: checks all metadata, and mends it by @fix.  The node is
 * drained, caches are written and dropped first (co_qcow2_drop_caches), and what is cached of L1
 * and the refcount table is valid afterwards.  Clears the dirty and corrupt bits where nothing is
 * left to mend.  0 or -errno where the check itself could not be done (check_errors counts why);
 * @stop may be NULL.
 */
G_GNUC_WARN_UNUSED_RESULT int qcow2_co_check(BlockNode *node, unsigned fix,
                                             BlockCheckResult *result, BlockCheckStopFn *stop,
                                             void *opaque);

/*
 * Mends all while the image is being opened, which somebody waits for: the work is bounded by the
 * size of the file, whatever the header says (-E2BIG), and ends when the daemon does (-ECANCELED).
 * Lock held.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_check_at_open(BlockNode *node, Qcow2CheckResult *result);

#endif
