/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a check of an image finds: the counts of "qemu-img check". */
#ifndef BLOCK_CHECK_RESULT_H
#define BLOCK_CHECK_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#define BLOCK_FIX_LEAKS 1u
#define BLOCK_FIX_ERRORS 2u

typedef struct BlockCheckResult {
    int64_t corruptions, leaks, check_errors; /* that are (still) there */
    int64_t corruptions_fixed, leaks_fixed;
    int64_t image_end_offset;
    int64_t total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
} BlockCheckResult;

/* Is the check to stop (with -ECANCELED)?  Asked between tables; must not yield. */
typedef bool BlockCheckStopFn(void *opaque);

#endif
