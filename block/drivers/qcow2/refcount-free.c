/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Giving clusters back, and telling the file of it; see refcount.h.
 *
 * A freed cluster is discarded in the file only once no table on disk refers to it: otherwise a
 * crash would bring back an L2 entry whose data is gone.  So ranges are collected until the next
 * flush; those that were allocated again meanwhile are left out.
 */
#include "block/drivers/qcow2/map.h"
#include "block/drivers/qcow2/refcount.h"
#include "util/range.h"

/* When so many ranges wait, the metadata is written for their sake. */
#define MAX_WAITING 4096

void qcow2_discard_later(Qcow2State *s, int64_t offset)
{
    Qcow2HostIo range = { .offset = offset, .bytes = s->cluster_size };

    if (s->discards->len) {
        Qcow2HostIo *last = &g_array_index(s->discards, Qcow2HostIo, s->discards->len - 1);

        if (last->offset + last->bytes == offset) {
            last->bytes += s->cluster_size;
            return;
        }
    }
    g_array_append_val(s->discards, range);
}

/* Up to where the clusters from @offset on are free or not, as the first one is. */
static int64_t co_free_run(BlockNode *node, int64_t offset, int64_t end, bool *is_free)
{
    Qcow2State *s = qcow2_state(node);
    int64_t at;

    for (at = offset; at < end; at += s->cluster_size) {
        uint64_t count;
        bool now = co_qcow2_refcount_get(node, at >> s->cluster_bits, &count) == 0 && count == 0;

        if (at == offset) {
            *is_free = now;
        } else if (now != *is_free) {
            break;
        }
    }
    return at;
}

static void co_discard_range(BlockNode *node, int64_t offset, int64_t bytes)
{
    int64_t end = offset + bytes;

    while (offset < end) {
        bool is_free = false;
        int64_t next = co_free_run(node, offset, end, &is_free);
        int64_t len = MIN(next, node->file->node->size) - offset;

        if (is_free && len > 0) {
            (void)!co_block_discard(node->file, offset, len);
        }
        offset = next;
    }
}

void co_qcow2_pass_discards(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    GArray *ranges = s->discards;

    if (ranges->len == 0) {
        return;
    }
    s->discards = g_array_new(false, false, sizeof(Qcow2HostIo));
    for (guint i = 0; i < ranges->len; i++) {
        const Qcow2HostIo *range = &g_array_index(ranges, Qcow2HostIo, i);

        co_discard_range(node, range->offset, range->bytes);
    }
    g_array_free(ranges, true);
}

static void co_relieve(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);

    if (s->discards->len >= MAX_WAITING && co_qcow2_write_metadata(node) == 0 &&
        co_qcow2_flush_files(node) == 0) {
        co_qcow2_pass_discards(node);
    }
}

void co_qcow2_free_clusters(BlockNode *node, int64_t offset, int64_t bytes, Qcow2Discard type)
{
    int ret = co_qcow2_refcount_add(node, offset, bytes, -1, type);

    if (ret < 0) {
        g_warning("Node '%s': qcow2_free_clusters failed: %s", node->name, g_strerror(-ret));
    }
    co_relieve(node);
}

void co_qcow2_free_any(BlockNode *node, uint64_t l2_entry, Qcow2Discard type)
{
    Qcow2State *s = qcow2_state(node);
    int64_t offset = l2_entry & QCOW2_OFFSET_MASK, bytes = s->cluster_size;

    if (s->external_data) {
        if (!s->raw_external && s->discard_passthrough[type]) {
            (void)!co_block_discard(s->data, offset, bytes);
        }
        return;
    }
    if (l2_entry & QCOW2_COMPRESSED) {
        qcow2_compressed_place(s, l2_entry, &offset, &bytes);
    } else if (offset == 0) {
        return;
    } else if (qcow2_in_cluster(s, offset)) {
        co_qcow2_corrupt(node, false, -1, -1, "Cannot free unaligned cluster %#" PRIx64, offset);
        return;
    }
    co_qcow2_free_clusters(node, offset, bytes, type);
}
