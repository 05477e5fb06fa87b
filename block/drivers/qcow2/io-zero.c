/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Write-zeroes and discard requests: which clusters they may change. */
#include "block/drivers/qcow2/alloc.h"
#include "block/drivers/qcow2/io.h"
#include "util/range.h"

#include <errno.h>

int qcow2_co_write_zeroes(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    Qcow2State *s = qcow2_state(node);

    return s->broken ? -EIO : co_qcow2_zero_clusters(node, offset, bytes, flags);
}

int qcow2_co_discard(BlockNode *node, int64_t offset, int64_t bytes)
{
    Qcow2State *s = qcow2_state(node);
    int64_t end = offset + bytes;

    if (s->broken) {
        return -EIO;
    }
    /* Without zero clusters a discard would bring the backing file's bytes to light. */
    if (s->header.version < 3 && qcow2_backing(node)) {
        return -ENOTSUP;
    }
    /* The part of a cluster at the end of the disk counts as a whole one. */
    end = end == node->size ? align_up(end, s->cluster_size) : align_down(end, s->cluster_size);
    offset = align_up(offset, s->cluster_size);
    return offset < end ? co_qcow2_discard_clusters(node, offset, end - offset,
                                                    QCOW2_DISCARD_REQUEST, false)
                        : -ENOTSUP;
}
