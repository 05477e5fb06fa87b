/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changing the size of the disk; see resize.h. */
#include "block/drivers/qcow2/resize.h"

#include "block/drivers/qcow2/alloc.h"
#include "util/error.h"

#include <errno.h>

int qcow2_co_truncate(BlockNode *node, int64_t size, bool exact, PreallocMode prealloc,
                      GError **errp)
{
    tm_error_set(errp, "Image format driver does not support resize");
    return -ENOTSUP;
}
