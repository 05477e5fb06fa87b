/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bitmap directory; see bitmap-directory.h. */
#include "block/drivers/qcow2/bitmap-directory.h"

#include <inttypes.h>

#include "util/big-endian.h"
#include "block/drivers/qcow2/format.h"
#include "util/error.h"
#include "util/range.h"

#define ENTRY_FIXED 24 /* bytes before extra data and name */
#define KNOWN_FLAGS (QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO | QCOW2_BITMAP_EXTRA_COMPATIBLE)

#define TABLE_OFFSET UINT64_C(0x00fffffffffffe00)
#define TABLE_RESERVED UINT64_C(0xff000000000001fe)
#define TABLE_ALL_ONES UINT64_C(1)

/* --- entries --- */

Qcow2BitmapEntry *qcow2_bitmap_entry_new(const char *name, uint8_t granularity_bits)
{
    Qcow2BitmapEntry *entry = g_new0(Qcow2BitmapEntry, 1);

    entry->type = QCOW2_BITMAP_TYPE_DIRTY;
    entry->granularity_bits = granularity_bits;
    entry->name = g_strdup(name);
    entry->name_len = strlen(name);
    return entry;
}

Qcow2BitmapEntry *qcow2_bitmap_entry_copy(const Qcow2BitmapEntry *entry)
{
    Qcow2BitmapEntry *copy = g_new0(Qcow2BitmapEntry, 1);

    *copy = *entry;
    copy->extra = g_memdup2(entry->extra, entry->extra_len);
    copy->name = g_memdup2(entry->name, (gsize)entry->name_len + 1);
    return copy;
}

void qcow2_bitmap_entry_free(Qcow2BitmapEntry *entry)
{
    if (entry) {
        g_free(entry->extra);
        g_free(entry->name);
        g_free(entry);
    }
}

size_t qcow2_bitmap_entry_size(size_t name_len, size_t extra_len)
{
    return align_up(ENTRY_FIXED + name_len + extra_len, 8);
}

GPtrArray *qcow2_bitmap_directory_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)qcow2_bitmap_entry_free);
}

/* --- the directory --- */

/* The entry at @buf, whose whole length is known to lie in the buffer. */
static Qcow2BitmapEntry *decode_entry(const uint8_t *buf)
{
    Qcow2BitmapEntry *entry = g_new0(Qcow2BitmapEntry, 1);

    entry->table_offset = get_be64(buf);
    entry->table_size = get_be32(buf + 8);
    entry->flags = get_be32(buf + 12);
    entry->type = buf[16];
    entry->granularity_bits = buf[17];
    entry->name_len = get_be16(buf + 18);
    entry->extra_len = get_be32(buf + 20);
    entry->extra = entry->extra_len ? g_memdup2(buf + ENTRY_FIXED, entry->extra_len) : NULL;
    entry->name = g_malloc0((gsize)entry->name_len + 1);
    memcpy(entry->name, buf + ENTRY_FIXED + entry->extra_len, entry->name_len);
    return entry;
}

/* Bytes of the entry at @buf, or 0 where it is not within @len bytes. */
static size_t entry_length(const uint8_t *buf, size_t len)
{
    size_t size;

    if (len < ENTRY_FIXED) {
        return 0;
    }
    size = qcow2_bitmap_entry_size(get_be16(buf + 18), get_be32(buf + 20));
    return size <= len ? size : 0;
}

static bool decode_all(GPtrArray *entries, const uint8_t *buf, size_t len, uint32_t count,
                       GError **errp)
{
    size_t at = 0;

    while (at < len) {
        size_t size = entry_length(buf + at, len - at);

        if (size == 0) {
            return tm_error_set(errp, "Broken bitmap directory");
        }
        if (entries->len == count) {
            return tm_error_set(errp, "More bitmaps found than specified in header extension");
        }
        g_ptr_array_add(entries, decode_entry(buf + at));
        at += size;
    }
    if (entries->len < count) {
        return tm_error_set(errp, "Less bitmaps found than specified in header extension");
    }
    return true;
}

GPtrArray *qcow2_bitmap_directory_decode(const uint8_t *buf, size_t len, uint32_t count,
                                         GError **errp)
{
    GPtrArray *entries = qcow2_bitmap_directory_new();

    if (!decode_all(entries, buf, len, count, errp)) {
        g_ptr_array_unref(entries);
        return NULL;
    }
    return entries;
}

size_t qcow2_bitmap_directory_size(const GPtrArray *entries)
{
    size_t size = 0;

    for (guint i = 0; i < entries->len; i++) {
        const Qcow2BitmapEntry *entry = entries->pdata[i];

        size += qcow2_bitmap_entry_size(entry->name_len, entry->extra_len);
    }
    return size;
}

static void encode_entry(const Qcow2BitmapEntry *entry, uint8_t *buf)
{
    put_be64(buf, entry->table_offset);
    put_be32(buf + 8, entry->table_size);
    put_be32(buf + 12, entry->flags);
    buf[16] = entry->type;
    buf[17] = entry->granularity_bits;
    put_be16(buf + 18, entry->name_len);
    put_be32(buf + 20, entry->extra_len);
    if (entry->extra_len) {
        memcpy(buf + ENTRY_FIXED, entry->extra, entry->extra_len);
    }
    memcpy(buf + ENTRY_FIXED + entry->extra_len, entry->name, entry->name_len);
}

void qcow2_bitmap_directory_encode(const GPtrArray *entries, uint8_t *buf)
{
    memset(buf, 0, qcow2_bitmap_directory_size(entries));
    for (guint i = 0; i < entries->len; i++) {
        const Qcow2BitmapEntry *entry = entries->pdata[i];

        encode_entry(entry, buf);
        buf += qcow2_bitmap_entry_size(entry->name_len, entry->extra_len);
    }
}

/* --- checks --- */

int64_t qcow2_bitmap_clusters(int64_t disk_size, unsigned granularity_bits, int64_t cluster_size)
{
    int64_t bits = units_covering(disk_size, INT64_C(1) << granularity_bits);

    return units_covering(units_covering(bits, 8), cluster_size);
}

bool qcow2_bitmap_name_is_text(const Qcow2BitmapEntry *entry)
{
    return entry->name_len > 0 && strlen(entry->name) == entry->name_len &&
           g_utf8_validate(entry->name, entry->name_len, NULL);
}

bool qcow2_bitmap_table_check(const Qcow2BitmapEntry *entry, int64_t cluster_size, GError **errp)
{
    int64_t offset = entry->table_offset;

    if (entry->table_size == 0 || entry->table_size > QCOW2_MAX_BITMAP_TABLE ||
        entry->table_size > QCOW2_MAX_BITMAP_BYTES / cluster_size) {
        return tm_error_set(errp, "its table has %u entries", entry->table_size);
    }
    if (offset <= 0 || !is_aligned(offset, cluster_size) ||
        !range_valid(offset, (int64_t)entry->table_size * 8, INT64_MAX - cluster_size)) {
        return tm_error_set(errp, "its table is at 0x%" PRIx64, entry->table_offset);
    }
    return true;
}

static bool check_kind(const Qcow2BitmapEntry *entry, GError **errp)
{
    if (entry->type != QCOW2_BITMAP_TYPE_DIRTY) {
        return tm_error_set(errp, "its type is %u", entry->type);
    }
    if (entry->flags & ~KNOWN_FLAGS) {
        return tm_error_set(errp, "its flags are 0x%x", entry->flags);
    }
    if (entry->granularity_bits < QCOW2_MIN_BITMAP_GRANULARITY_BITS ||
        entry->granularity_bits > QCOW2_MAX_BITMAP_GRANULARITY_BITS) {
        return tm_error_set(errp, "its granularity is of %u bits", entry->granularity_bits);
    }
    if (entry->name_len > QCOW2_MAX_BITMAP_NAME) {
        return tm_error_set(errp, "its name has %u bytes", entry->name_len);
    }
    if (entry->extra_len && !(entry->flags & QCOW2_BITMAP_EXTRA_COMPATIBLE)) {
        return tm_error_set(errp, "Bitmap extra data is not supported");
    }
    return true;
}

bool qcow2_bitmap_entry_check(const Qcow2BitmapEntry *entry, int64_t disk_size,
                              int64_t cluster_size, GError **errp)
{
    if (!check_kind(entry, errp) || !qcow2_bitmap_table_check(entry, cluster_size, errp)) {
        return false;
    }
    /* The file's copy of one that is in use may be of another size: the disk was resized. */
    if (!(entry->flags & QCOW2_BITMAP_IN_USE) &&
        entry->table_size !=
            qcow2_bitmap_clusters(disk_size, entry->granularity_bits, cluster_size)) {
        return tm_error_set(errp, "its table has %u entries, which does not fit the disk's size",
                            entry->table_size);
    }
    return true;
}

bool qcow2_bitmap_table_entry(uint64_t entry, int64_t cluster_size, int64_t *offset, bool *all_ones)
{
    *offset = entry & TABLE_OFFSET;
    *all_ones = entry & TABLE_ALL_ONES;
    return !(entry & TABLE_RESERVED) && is_aligned(*offset, cluster_size) &&
           !(*offset && *all_ones);
}
