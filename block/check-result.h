/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a check of an image finds: the counts of "qemu-img check". */
#ifndef BLOCK_CHECK_RESULT_H
#define BLOCK_CHECK_RESULT_H

#include "qmp-schema/qmp-types.h"

#define BLOCK_FIX_LEAKS 1u
#define BLOCK_FIX_ERRORS 2u

typedef XBlockdevCheckResult BlockCheckResult;

/* Is the check to stop (with -ECANCELED)?  Asked between tables; must not yield. */
typedef bool BlockCheckStopFn(void *opaque);

#endif
