/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The image header: the fields, the extensions behind them, and the backing file's name; all of it
 * lies in the first cluster.
 *
 * qcow2_header_decode() refuses what breaks the format or QEMU's bounds; so all who come later may
 * take the values as they are.  qcow2_header_encode() writes the same cluster again, with what it
 * did not understand (additional fields, unknown extensions) kept byte for byte.
 */
#ifndef BLOCK_DRIVERS_QCOW2_HEADER_H
#define BLOCK_DRIVERS_QCOW2_HEADER_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#include "block/block-types.h"
#include "block/drivers/qcow2/format.h"

/* An extension that we do not know; in the order of the file. */
typedef struct Qcow2Extension {
    uint32_t type, len;
    uint8_t *data;
} Qcow2Extension;

/* The bitmaps extension; count 0: there is none. */
typedef struct Qcow2BitmapsExt {
    uint32_t count;
    uint64_t directory_size, directory_offset;
} Qcow2BitmapsExt;

typedef struct Qcow2Header {
    uint32_t version; /* 2 or 3 */
    uint32_t cluster_bits;
    int64_t size; /* of the virtual disk, bytes */
    uint32_t crypt_method;
    uint32_t l1_size; /* entries */
    int64_t l1_offset;
    int64_t refcount_table_offset;
    uint32_t refcount_table_clusters;
    uint32_t snapshots;
    int64_t snapshots_offset;
    uint64_t incompatible, compatible, autoclear;
    uint32_t refcount_order;
    uint32_t length;       /* of the fixed part in the file: 72 in version 2, at least 104 in 3 */
    uint8_t compression;   /* Qcow2Compression */
    uint8_t *more_fields;  /* bytes 112 to length, kept as they are; NULL if none */
    char *backing_name;    /* NULL: no backing file */
    char *backing_format;  /* NULL: not said */
    char *data_file_name;  /* of the external data file; NULL: not said */
    Qcow2BitmapsExt bitmaps;
    GArray *unknown;       /* of Qcow2Extension; NULL if none */
} Qcow2Header;

/* All fields are freed; the struct itself is the caller's. */
void qcow2_header_clear(Qcow2Header *header);

/*
 * The cluster size, from the first bytes of the image (QCOW2_HEADER_PROBE of them); 0 with an
 * error where it is no qcow2 header.
 */
#define QCOW2_HEADER_PROBE 112
size_t qcow2_header_probe(const uint8_t *buf, GError **errp);

/*
 * Reads the header from @buf, the first cluster of the image (zeroes behind the end of the file).
 * Checks everything that can be checked without the rest of the file.  On failure @header is
 * cleared.  A bitmaps extension that is damaged or out of date is no error: there is a warning, and
 * header->bitmaps.count is 0.
 */
bool qcow2_header_decode(Qcow2Header *header, const uint8_t *buf, GError **errp);

/* The size of L1 that a disk of @size bytes needs, in entries; may exceed what QEMU takes. */
uint64_t qcow2_l1_entries(int64_t size, unsigned cluster_bits, bool extended_l2);

/*
 * Writes the whole first cluster (@len is the cluster size) into @buf; what is unused is zeroed.
 * Fails where it does not fit ("Backing file name too long" and the like): @buf is then undefined.
 */
bool qcow2_header_encode(const Qcow2Header *header, uint8_t *buf, size_t len, GError **errp);

/*
 * Writes the node's header (state->header) to the file as one write, not flushed.  The state's
 * lock is held, or nobody else uses the node yet; but for the corrupt bit, which anybody may set
 * and write.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_header_write(BlockNode *node);

/*
 * The same, flushed.  After a failure the file may hold the new header or the old one: the caller
 * sets the fields back and calls take_back(), which writes them once more; what either header
 * refers to must not be freed.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_header_commit(BlockNode *node);
void co_qcow2_header_take_back(BlockNode *node);

/*
 * Set or clear the dirty bit (lazy refcounts).  mark_dirty is on disk (flushed) when it returns;
 * mark_clean writes all metadata out first, then the bit.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_mark_dirty(BlockNode *node);
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_mark_clean(BlockNode *node);

#endif
