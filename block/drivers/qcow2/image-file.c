/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The image file below the tables: reading and writing metadata, growing, flushing, and what
 * happens when the image is found to be damaged.
 *
 * The file grows ahead of what is written, in steps, so that most allocations need no change of its
 * size; s->file_used is what is really in use, and closing cuts the file there.
 */
#include "block/drivers/qcow2/map.h"
#include "block/drivers/qcow2/overlap.h"
#include "block/drivers/qcow2/refcount.h"
#include "qmp-schema/qmp-events.h"
#include "util/range.h"

#include <errno.h>
#include <string.h>

#define GROW_MIN (INT64_C(1) << 20)
#define GROW_MAX (INT64_C(64) << 20)

int co_qcow2_read_file(BlockNode *node, int64_t offset, void *buf, size_t len)
{
    int64_t inside = CLAMP(node->file->node->size - offset, 0, (int64_t)len);

    memset((char *)buf + inside, 0, len - inside);
    return inside ? co_block_read_buf(node->file, offset, buf, inside) : 0;
}

int co_qcow2_write_meta(BlockNode *node, unsigned ignore, int64_t offset, const void *buf,
                        size_t len)
{
    int ret = co_qcow2_check_overlap(node, ignore, offset, len);

    if (ret == 0) {
        ret = co_qcow2_file_grow(node, offset + len);
    }
    return ret < 0 ? ret : co_block_write_buf(node->file, offset, buf, len, 0);
}

static int co_set_file_size(BlockNode *node, int64_t size)
{
    GError *error = NULL;

    if (!co_block_truncate(node->file, size, false, PREALLOC_MODE_OFF, &error)) {
        g_debug("Node '%s': %s", node->name, error->message);
        g_error_free(error);
        return -ENOSPC;
    }
    return 0;
}

int co_qcow2_file_grow(BlockNode *node, int64_t end)
{
    Qcow2State *s = qcow2_state(node);
    int64_t size = node->file->node->size, step;
    int ret;

    if (end > BLOCK_MAX_SIZE) {
        return -EFBIG;
    }
    s->file_used = MAX(s->file_used, end);
    if (G_LIKELY(end <= size)) {
        return 0;
    }
    step = CLAMP(align_down(size / 8, GROW_MIN), GROW_MIN, GROW_MAX);
    ret = co_set_file_size(node, align_up(MAX(end, MIN(size + step, BLOCK_MAX_SIZE)), 512));
    /* Somebody may have grown it meanwhile; and a full disk may still have room for less. */
    if (ret < 0 && node->file->node->size < end) {
        ret = co_set_file_size(node, align_up(end, 512));
    }
    return node->file->node->size >= end ? 0 : ret;
}

int co_qcow2_flush_files(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    int ret = co_block_flush(node->file);

    if (ret == 0 && s->external_data && qcow2_writable(node)) {
        ret = co_block_flush(s->data);
    }
    return ret;
}

int co_qcow2_write_metadata(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    bool lazy = s->lazy_refcounts && (s->header.incompatible & QCOW2_DIRTY);
    int ret = co_qcow2_cache_write(s->l2_cache);

    if (ret == 0 && !lazy) {
        ret = co_qcow2_cache_write(s->refcount_cache);
    }
    return ret < 0 ? ret : co_qcow2_l1_write(node);
}

int co_qcow2_drop_caches(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    int ret = co_qcow2_write_metadata(node);

    if (ret == 0) {
        ret = co_qcow2_cache_empty(s->l2_cache);
    }
    return ret < 0 ? ret : co_qcow2_cache_empty(s->refcount_cache);
}

/* --- damage ------------------------------------------------------------------------------- */

static void send_event(BlockNode *node, bool fatal, int64_t offset, int64_t bytes, char *message)
{
    BlockImageCorruptedEvent event = {
        .device = (char *)"",
        .node_name = node->name,
        .msg = message,
        .has_offset = offset >= 0,
        .offset = offset,
        .has_size = bytes >= 0,
        .size = bytes,
        .fatal = fatal,
    };

    qmp_event_block_image_corrupted(&event);
}

/*
 * The corrupt bit is set around the caches: nothing else that is in memory is written any more.
 * With s->lock or without (qcow2.h).
 */
static void co_set_corrupt_bit(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);

    if (s->header.version < 3 || !qcow2_writable(node) ||
        (s->header.incompatible & QCOW2_CORRUPT)) {
        return;
    }
    s->header.incompatible |= QCOW2_CORRUPT;
    if (co_qcow2_header_write(node) < 0 || co_qcow2_flush_files(node) < 0) {
        g_warning("Node '%s': the corrupt bit could not be written", node->name);
    }
}

int co_qcow2_corrupt(BlockNode *node, bool fatal, int64_t offset, int64_t bytes,
                     const char *format, ...)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree char *message = NULL;
    va_list ap;

    fatal = fatal && qcow2_writable(node);
    if (s->broken || (s->corrupt_told && !fatal)) {
        return -EIO;
    }
    va_start(ap, format);
    message = g_strdup_vprintf(format, ap);
    va_end(ap);
    s->corrupt_told = true;
    s->broken = fatal;
    if (fatal) {
        g_warning("qcow2: Marking image as corrupt: %s; further corruption events will be "
                  "suppressed", message);
    } else {
        g_warning("qcow2: Image is corrupt: %s; further non-fatal corruption events will be "
                  "suppressed", message);
    }
    send_event(node, fatal, offset, bytes, message);
    if (fatal) {
        co_set_corrupt_bit(node);
    }
    return -EIO;
}
