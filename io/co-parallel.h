/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Several coroutines that share the work of one call. */
#ifndef IO_CO_PARALLEL_H
#define IO_CO_PARALLEL_H

#include <glib.h>

/*
 * Takes the next piece of the work and does it.  Returns 1 when there may be more, 0 when there is
 * none left, -errno when it failed.  Takes without a yield, or under a lock of its own: the others
 * call it at the same time.
 */
typedef int CoStepFn(void *opaque);

/*
 * Calls @co_step in up to @max coroutines, the caller's among them, until there is no more work or
 * something fails; returns when all have ended: 0, or the first error.
 */
G_GNUC_WARN_UNUSED_RESULT int co_in_parallel(unsigned max, CoStepFn *co_step, void *opaque);

#endif
