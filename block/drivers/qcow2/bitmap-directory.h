/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bitmap directory: the list of the bitmaps that are stored in an image, as it lies in the
 * file. No I/O and no node: memory to memory.
 *
 * Decoding has two steps.  What breaks the chain of entries (a length, a count) makes all of the
 * directory useless.  What is wrong with one entry makes that bitmap unusable, and no other: the
 * entry is kept as it is, so that writing the directory again does not harm it.
 */
#ifndef BLOCK_DRIVERS_QCOW2_BITMAP_DIRECTORY_H
#define BLOCK_DRIVERS_QCOW2_BITMAP_DIRECTORY_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QCOW2_BITMAP_IN_USE (1u << 0) /* the file's copy is out of date */
#define QCOW2_BITMAP_AUTO (1u << 1)   /* the bitmap is enabled */
#define QCOW2_BITMAP_EXTRA_COMPATIBLE (1u << 2)
#define QCOW2_BITMAP_TYPE_DIRTY 1

#define QCOW2_MIN_BITMAP_GRANULARITY_BITS 9
#define QCOW2_MAX_BITMAP_GRANULARITY_BITS 31
#define QCOW2_MAX_BITMAP_NAME 1023
/* QEMU's bounds: entries of a table, and bytes of bitmap data. */
#define QCOW2_MAX_BITMAP_TABLE INT64_C(0x8000000)
#define QCOW2_MAX_BITMAP_BYTES INT64_C(0x20000000)

typedef struct Qcow2BitmapEntry {
    uint64_t table_offset;
    uint32_t table_size; /* entries */
    uint32_t flags;      /* QCOW2_BITMAP_… */
    uint8_t type, granularity_bits;
    uint8_t *extra; /* extra_len bytes, kept as they are; NULL if none */
    uint32_t extra_len;
    char *name; /* name_len bytes and a NUL; there may be NULs among the bytes */
    uint16_t name_len;
    bool damaged; /* not in the file: what it says of clusters is not to be believed */
} Qcow2BitmapEntry;

Qcow2BitmapEntry *qcow2_bitmap_entry_new(const char *name, uint8_t granularity_bits);
Qcow2BitmapEntry *qcow2_bitmap_entry_copy(const Qcow2BitmapEntry *entry);
void qcow2_bitmap_entry_free(Qcow2BitmapEntry *entry); /* NULL is accepted */

/* Bytes of an entry in the directory. */
size_t qcow2_bitmap_entry_size(size_t name_len, size_t extra_len);

/* An empty directory: of Qcow2BitmapEntry, owned. */
GPtrArray *qcow2_bitmap_directory_new(void);

/*
 * The entries in @buf, which are to be @count and to fill it; NULL with an error (QEMU's words)
 * where they don't.
 */
GPtrArray *qcow2_bitmap_directory_decode(const uint8_t *buf, size_t len, uint32_t count,
                                         GError **errp);

/* Bytes of the directory. */
size_t qcow2_bitmap_directory_size(const GPtrArray *entries);
void qcow2_bitmap_directory_encode(const GPtrArray *entries, uint8_t *buf);

/* Entries of the table of a bitmap of a disk of @disk_size bytes. */
int64_t qcow2_bitmap_clusters(int64_t disk_size, unsigned granularity_bits, int64_t cluster_size);

/* Can the name be shown to a user (UTF-8, not empty, no NUL)? */
bool qcow2_bitmap_name_is_text(const Qcow2BitmapEntry *entry);

/* May the entry's table and data be used?  The error says what is wrong with it. */
bool qcow2_bitmap_entry_check(const Qcow2BitmapEntry *entry, int64_t disk_size,
                              int64_t cluster_size, GError **errp);

/* The same for where the table lies only: the table may be followed (to count or free clusters). */
bool qcow2_bitmap_table_check(const Qcow2BitmapEntry *entry, int64_t cluster_size, GError **errp);

/* Is that entry of a bitmap table valid?  *offset: of the cluster with the data, or 0. */
bool qcow2_bitmap_table_entry(uint64_t entry, int64_t cluster_size, int64_t *offset,
                              bool *all_ones);

#endif
