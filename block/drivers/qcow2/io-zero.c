/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Write-zeroes and discard requests: which clusters they may change.
 *
 * A write-zeroes that covers a cluster only in part can still make a zero cluster of it where the
 * rest reads as zeroes too, or lies behind the end of the disk.
 */
#include "block/drivers/qcow2/alloc.h"
#include "block/drivers/qcow2/io.h"
#include "block/drivers/qcow2/map.h"
#include "util/range.h"

#include <errno.h>

/* Does the range read as zeroes, as far as can be told without reading? */
static int co_is_zero(BlockNode *node, int64_t offset, int64_t bytes)
{
    BlockChild *backing = qcow2_backing(node);

    while (bytes > 0) {
        Qcow2Run run;
        int64_t len;
        int ret = co_qcow2_map(node, offset, bytes, &run);

        if (ret < 0) {
            return ret;
        }
        if (run.kind == QCOW2_KIND_NORMAL || run.kind == QCOW2_KIND_COMPRESSED) {
            return 0;
        }
        len = run.bytes;
        if (run.kind != QCOW2_KIND_ZERO && run.kind != QCOW2_KIND_ZERO_ALLOC && backing &&
            offset < backing->node->size) {
            BlockStatus status;

            ret = co_block_status(backing, true, offset, len, &status);
            if (ret < 0 || !(status.flags & BLOCK_STATUS_ZERO)) {
                return MIN(ret, 0);
            }
            len = status.bytes ? status.bytes : len;
        }
        offset += len;
        bytes -= len;
    }
    return 1;
}

/* Rounds the range out to whole subclusters where that changes nothing of what is read. */
static int co_round_out(BlockNode *node, int64_t *offset, int64_t *end)
{
    const Qcow2State *s = qcow2_state(node);
    int64_t start = align_down(*offset, s->subcluster_size);
    int64_t limit = align_up(*end, s->subcluster_size);
    int64_t tail = MIN(limit, node->size) - *end;
    int ret = co_is_zero(node, start, *offset - start);

    if (ret == 1 && tail > 0) {
        ret = co_is_zero(node, *end, tail);
    }
    if (ret != 1) {
        return ret < 0 ? ret : -ENOTSUP;
    }
    *offset = start;
    *end = limit;
    return 0;
}

int qcow2_co_write_zeroes(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    Qcow2State *s = qcow2_state(node);
    int64_t end = offset + bytes;
    int ret = s->broken ? -EIO : 0;

    if (ret == 0 && s->header.version < 3) {
        ret = -ENOTSUP;
    }
    if (ret == 0) {
        ret = co_round_out(node, &offset, &end);
    }
    if (ret == 0 && s->raw_external) {
        int64_t last = MIN(end, s->data->node->size);

        ret = last > offset ? co_block_write_zeroes(s->data, offset, last - offset,
                                                    flags & (BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK))
                            : 0;
    }
    return ret < 0 ? ret : co_qcow2_zero_clusters(node, offset, end - offset, flags);
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
