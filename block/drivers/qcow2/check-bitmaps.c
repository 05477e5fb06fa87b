/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Walking the references of persistent bitmaps: directory, tables, clusters.  See check-int.h.
 *
 * A directory that does not make sense is a corruption; what it referred to is then not known, so
 * that nothing may be freed.
 */
#include "block/drivers/qcow2/check-int.h"
#include "util/range.h"

#include <errno.h>
#include <string.h>

#define ENTRY_BYTES 24
#define MAX_TABLE_ENTRIES (UINT32_C(1) << 27)
#define MAX_BITMAP_BYTES (INT64_C(1) << 29)
#define MAX_NAME 1023
#define FLAG_IN_USE 1u
#define FLAG_EXTRA_COMPATIBLE 4u /* extra data may be kept as it is, unknown */
#define KNOWN_FLAGS 7u
#define TABLE_RESERVED UINT64_C(0xff000000000001fe)

/* The fixed part of a directory entry. */
typedef struct Bitmap {
    int64_t table_offset;
    uint32_t table_entries, flags, extra_len;
    uint8_t type, granularity_bits;
    uint16_t name_len;
} Bitmap;

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static Bitmap decode(const uint8_t *p)
{
    return (Bitmap){
        .table_offset = qcow2_check_be64(p, 0),
        .table_entries = be32(p + 8),
        .flags = be32(p + 12),
        .type = p[16],
        .granularity_bits = p[17],
        .name_len = p[18] << 8 | p[19],
        .extra_len = be32(p + 20),
    };
}

/* Does the stored bitmap cover the disk?  One left in use may be older than the disk's size. */
static bool is_long_enough(const Qcow2Checker *c, const Bitmap *b)
{
    int64_t bytes = (int64_t)b->table_entries * c->s->cluster_size;
    int64_t granules = (c->s->header.size >> b->granularity_bits) +
                       !!(c->s->header.size & ((INT64_C(1) << b->granularity_bits) - 1));

    return bytes <= MAX_BITMAP_BYTES && ((b->flags & FLAG_IN_USE) || granules <= bytes * 8);
}

static bool is_kept(const Bitmap *b)
{
    return b->extra_len == 0 || (b->flags & FLAG_EXTRA_COMPATIBLE);
}

static bool is_sane(const Qcow2Checker *c, const Bitmap *b)
{
    return b->table_entries && b->table_entries <= MAX_TABLE_ENTRIES && b->table_offset > 0 &&
           qcow2_in_cluster(c->s, b->table_offset) == 0 && !(b->flags & ~KNOWN_FLAGS) &&
           b->name_len && b->name_len <= MAX_NAME && b->type == 1 && is_kept(b) &&
           b->granularity_bits >= 9 && b->granularity_bits <= 31 && is_long_enough(c, b);
}

static void walk_table_entry(Qcow2Checker *c, uint64_t entry)
{
    int64_t offset = entry & QCOW2_OFFSET_MASK;
    bool bad = (entry & TABLE_RESERVED) || (offset && (entry & 1)) ||
               qcow2_in_cluster(c->s, offset);

    if (bad && c->report) {
        qcow2_check_corruption(c, "bitmap table entry %#" PRIx64 " is not valid", entry);
    }
    if (!bad && offset) {
        qcow2_check_reference(c, offset, c->s->cluster_size);
    }
}

static int co_walk_table(Qcow2Checker *c, const Bitmap *b)
{
    uint32_t n, per_read = c->s->cluster_size / 8;
    int ret;

    qcow2_check_reference(c, b->table_offset, (int64_t)b->table_entries * 8);
    for (uint32_t i = 0; i < b->table_entries; i += n) {
        n = MIN(b->table_entries - i, per_read);
        ret = co_qcow2_check_work(c, (int64_t)n * 8);
        if (ret < 0) {
            return ret;
        }
        ret = co_qcow2_read_file(c->node, b->table_offset + (int64_t)i * 8, c->table,
                                 (size_t)n * 8);
        if (ret < 0) {
            return qcow2_check_failed(c, ret, "reading a bitmap table", b->table_offset);
        }
        for (uint32_t k = 0; k < n; k++) {
            walk_table_entry(c, qcow2_check_be64(c->table, k));
        }
    }
    return 0;
}

static int bad_directory(Qcow2Checker *c)
{
    c->incomplete = true;
    if (c->report) {
        qcow2_check_corruption(c, "the bitmap directory is damaged");
    }
    return 0;
}

static int co_walk_directory(Qcow2Checker *c, int64_t at, int64_t end, uint32_t count)
{
    uint8_t entry[ENTRY_BYTES] = { 0 };

    for (uint32_t i = 0; i < count; i++) {
        int ret = end - at < ENTRY_BYTES
                      ? 1
                      : co_qcow2_read_file(c->node, at, entry, sizeof(entry));
        if (ret < 0) {
            return qcow2_check_failed(c, ret, "reading the bitmap directory", at);
        }
        Bitmap b = decode(entry);
        if (ret == 1 || !is_sane(c, &b)) {
            return bad_directory(c);
        }
        at += align_up(ENTRY_BYTES + (int64_t)b.extra_len + b.name_len, 8);
        if (at > end) {
            return bad_directory(c);
        }
        ret = co_walk_table(c, &b);
        if (ret < 0) {
            return ret;
        }
    }
    return at == end ? 0 : bad_directory(c);
}

int co_qcow2_check_walk_bitmaps(Qcow2Checker *c)
{
    const Qcow2BitmapsExt *ext = &c->s->header.bitmaps;
    int64_t offset = ext->directory_offset, bytes = ext->directory_size;

    if (!ext->count || !(c->s->header.autoclear & QCOW2_BITMAPS)) {
        return 0;
    }
    qcow2_check_reference(c, offset, bytes);
    if (offset < 0 || bytes < 0 || offset > INT64_MAX - bytes || ext->count > QCOW2_MAX_BITMAPS) {
        return bad_directory(c);
    }
    return co_walk_directory(c, offset, offset + bytes, ext->count);
}
