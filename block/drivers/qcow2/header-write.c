/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing the image header; see header.h.
 *
 * The whole first cluster is made anew from the fields and written at once: a header that does not
 * fit is an error before anything has changed in the file.
 */
#include "util/big-endian.h"
#include "block/drivers/qcow2/overlap.h"
#include "util/error.h"
#include "util/range.h"

#include <errno.h>
#include <stdlib.h>

#define FEATURE_ENTRY 48

/* Where the next bytes go; @full once something did not fit. */
typedef struct Writer {
    uint8_t *buf;
    size_t at, len;
    bool full;
} Writer;

static void put_bytes(Writer *w, const void *data, size_t len)
{
    if (w->full || len > w->len - w->at) {
        w->full = true;
        return;
    }
    if (len) {
        memcpy(w->buf + w->at, data, len);
    }
    w->at += len;
}

static void put_extension(Writer *w, uint32_t type, const void *data, uint32_t len)
{
    static const uint8_t padding[8];
    uint8_t head[8];

    put_be32(head, type);
    put_be32(head + 4, len);
    put_bytes(w, head, sizeof(head));
    put_bytes(w, data, len);
    put_bytes(w, padding, align_up(len, 8) - len);
}

static void put_string(Writer *w, uint32_t type, const char *string)
{
    if (string) {
        put_extension(w, type, string, strlen(string));
    }
}

static void put_bitmaps(Writer *w, const Qcow2BitmapsExt *bitmaps)
{
    uint8_t data[24] = { 0 };

    if (bitmaps->count == 0) {
        return;
    }
    put_be32(data, bitmaps->count);
    put_be64(data + 8, bitmaps->directory_size);
    put_be64(data + 16, bitmaps->directory_offset);
    put_extension(w, QCOW2_EXT_BITMAPS, data, sizeof(data));
}

/* The names by which other programs tell their users what they do not know. */
static void put_feature_names(Writer *w)
{
    static const struct {
        uint8_t kind, bit;
        char name[FEATURE_ENTRY - 2];
    } features[] = {
        { 0, 0, "dirty bit" },          { 0, 1, "corrupt bit" },
        { 0, 2, "external data file" }, { 0, 3, "compression type" },
        { 0, 4, "extended L2 entries" }, { 1, 0, "lazy refcounts" },
        { 2, 0, "bitmaps" },            { 2, 1, "raw external data" },
    };

    G_STATIC_ASSERT(sizeof(features[0]) == FEATURE_ENTRY);
    put_extension(w, QCOW2_EXT_FEATURE_NAMES, features, sizeof(features));
}

static void put_fields(const Qcow2Header *h, uint8_t *buf)
{
    put_be32(buf, QCOW2_MAGIC);
    put_be32(buf + 4, h->version);
    put_be32(buf + 20, h->cluster_bits);
    put_be64(buf + 24, h->size);
    put_be32(buf + 32, h->crypt_method);
    put_be32(buf + 36, h->l1_size);
    put_be64(buf + 40, h->l1_offset);
    put_be64(buf + 48, h->refcount_table_offset);
    put_be32(buf + 56, h->refcount_table_clusters);
    put_be32(buf + 60, h->snapshots);
    put_be64(buf + 64, h->snapshots_offset);
    if (h->version < 3) {
        return;
    }
    put_be64(buf + 72, h->incompatible);
    put_be64(buf + 80, h->compatible);
    put_be64(buf + 88, h->autoclear);
    put_be32(buf + 96, h->refcount_order);
    put_be32(buf + 100, h->length);
    if (h->length > 104) {
        buf[104] = h->compression;
    }
    if (h->more_fields) {
        memcpy(buf + QCOW2_HEADER_PROBE, h->more_fields, h->length - QCOW2_HEADER_PROBE);
    }
}

static void put_extensions(const Qcow2Header *h, Writer *w, bool names)
{
    put_string(w, QCOW2_EXT_BACKING_FORMAT, h->backing_format);
    put_string(w, QCOW2_EXT_DATA_FILE, h->data_file_name);
    if (names) {
        put_feature_names(w);
    }
    put_bitmaps(w, &h->bitmaps);
    for (guint i = 0; h->unknown && i < h->unknown->len; i++) {
        const Qcow2Extension *ext = &g_array_index(h->unknown, Qcow2Extension, i);

        /* One for bitmaps is there only because it made no sense: a sound one takes its place. */
        if (ext->type != QCOW2_EXT_BITMAPS || h->bitmaps.count == 0) {
            put_extension(w, ext->type, ext->data, ext->len);
        }
    }
    put_extension(w, QCOW2_EXT_END, NULL, 0);
}

static void put_backing_name(const Qcow2Header *h, Writer *w)
{
    if (h->backing_name) {
        put_be64(w->buf + 8, w->at);
        put_be32(w->buf + 16, strlen(h->backing_name));
        put_bytes(w, h->backing_name, strlen(h->backing_name));
    }
}

static bool try_encode(const Qcow2Header *h, uint8_t *buf, size_t len, bool names)
{
    Writer w = { .buf = buf, .at = h->length, .len = len };

    memset(buf, 0, len);
    put_fields(h, buf);
    put_extensions(h, &w, names);
    if (!w.full) {
        put_backing_name(h, &w);
    }
    return !w.full;
}

bool qcow2_header_encode(const Qcow2Header *h, uint8_t *buf, size_t len, GError **errp)
{
    g_assert(h->length <= len);
    if (h->backing_name && strlen(h->backing_name) > QCOW2_MAX_BACKING_NAME) {
        return tm_error_set(errp, "Backing file name too long");
    }
    /* The feature names are the one thing that can be left out. */
    if (!(h->version >= 3 && try_encode(h, buf, len, true)) && !try_encode(h, buf, len, false)) {
        return tm_error_set(errp, "The image header does not fit into a cluster of %zu bytes", len);
    }
    return true;
}

/* As it is now. */
static int co_write_encoded(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    uint8_t *buf = block_alloc(node->file->node, s->cluster_size);
    GError *error = NULL;
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    if (!qcow2_header_encode(&s->header, buf, s->cluster_size, &error)) {
        g_warning("Node '%s': %s", node->name, error->message);
        g_error_free(error);
        free(buf);
        return -ENOSPC;
    }
    ret = co_qcow2_file_grow(node, s->cluster_size);
    if (ret == 0) {
        ret = co_block_write_buf(node->file, 0, buf, s->cluster_size, 0);
    }
    free(buf);
    return ret;
}

/*
 * One write at a time, encoded when its turn has come: who sets the corrupt bit may not have the
 * state's lock, and no older header may land on top of that bit.  (The overlap check, which may set
 * it, comes before.)
 */
int co_qcow2_header_write(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    int ret = co_qcow2_check_overlap(node, QCOW2_AREA_HEADER, 0, s->cluster_size);

    if (ret == 0) {
        co_mutex_lock(&s->header_writing);
        ret = co_write_encoded(node);
        co_mutex_unlock(&s->header_writing);
    }
    return ret;
}

int co_qcow2_header_commit(BlockNode *node)
{
    int ret = co_qcow2_header_write(node);

    return ret < 0 ? ret : co_qcow2_flush_files(node);
}

void co_qcow2_header_take_back(BlockNode *node)
{
    if (co_qcow2_header_commit(node) < 0) {
        g_warning("Node '%s': the image header could not be set back", node->name);
    }
}

static bool is_dirty(const BlockNode *node)
{
    return qcow2_state(node)->header.incompatible & QCOW2_DIRTY;
}

/* The other bits are left alone: the corrupt bit may be set meanwhile. */
static int co_flip_dirty(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    int ret;

    s->header.incompatible ^= QCOW2_DIRTY;
    ret = co_qcow2_header_commit(node);
    if (ret < 0) {
        s->header.incompatible ^= QCOW2_DIRTY;
        co_qcow2_header_take_back(node);
    }
    return ret;
}

int co_qcow2_mark_dirty(BlockNode *node)
{
    return is_dirty(node) ? 0 : co_flip_dirty(node);
}

int co_qcow2_mark_clean(BlockNode *node)
{
    int ret;

    if (!is_dirty(node)) {
        return 0;
    }
    ret = co_qcow2_write_metadata(node);
    if (ret == 0) {
        ret = co_qcow2_cache_write(qcow2_state(node)->refcount_cache);
    }
    if (ret == 0) {
        ret = co_qcow2_flush_files(node);
    }
    return ret < 0 ? ret : co_flip_dirty(node);
}
