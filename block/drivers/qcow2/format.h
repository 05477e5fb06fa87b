/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The on-disk words of qcow2 (qemu/qemu, docs/interop/qcow2.rst): numbers, bits, bounds.  No state.
 */
#ifndef BLOCK_DRIVERS_QCOW2_FORMAT_H
#define BLOCK_DRIVERS_QCOW2_FORMAT_H

#include <stdint.h>

#define QCOW2_MAGIC 0x514649fbu

#define QCOW2_MIN_CLUSTER_BITS 9
#define QCOW2_MAX_CLUSTER_BITS 21
#define QCOW2_EXTENDED_MIN_CLUSTER_BITS 14

/* QEMU's bounds: what is larger is refused before memory is taken for it. */
#define QCOW2_MAX_L1_BYTES (INT64_C(32) << 20)
#define QCOW2_MAX_REFCOUNT_TABLE_BYTES (INT64_C(8) << 20)
#define QCOW2_MAX_SNAPSHOTS 65536
#define QCOW2_MAX_SNAPSHOT_TABLE_BYTES (INT64_C(1024) * QCOW2_MAX_SNAPSHOTS)
#define QCOW2_MAX_BACKING_NAME 1023
#define QCOW2_MAX_BITMAPS 65535
/* One entry of a bitmap directory is at most 24 + 1023 bytes, rounded up. */
#define QCOW2_MAX_BITMAP_DIRECTORY_BYTES (INT64_C(1048) * QCOW2_MAX_BITMAPS)

/* Incompatible features. */
#define QCOW2_DIRTY (UINT64_C(1) << 0)
#define QCOW2_CORRUPT (UINT64_C(1) << 1)
#define QCOW2_DATA_FILE (UINT64_C(1) << 2)
#define QCOW2_COMPRESSION_TYPE (UINT64_C(1) << 3)
#define QCOW2_EXTENDED_L2 (UINT64_C(1) << 4)
#define QCOW2_INCOMPATIBLE_KNOWN UINT64_C(0x1f)

/* Compatible features. */
#define QCOW2_LAZY_REFCOUNTS (UINT64_C(1) << 0)

/* Autoclear features. */
#define QCOW2_BITMAPS (UINT64_C(1) << 0)
#define QCOW2_RAW_DATA_FILE (UINT64_C(1) << 1)
#define QCOW2_AUTOCLEAR_KNOWN UINT64_C(0x3)

/* Header extensions. */
#define QCOW2_EXT_END 0u
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acau
#define QCOW2_EXT_FEATURE_NAMES 0x6803f857u
#define QCOW2_EXT_BITMAPS 0x23852875u
#define QCOW2_EXT_CRYPTO 0x0537be77u
#define QCOW2_EXT_DATA_FILE 0x44415441u

typedef enum Qcow2Compression {
    QCOW2_COMPRESSION_DEFLATE = 0, /* raw deflate, window of 12 bits */
    QCOW2_COMPRESSION_ZSTD = 1,
} Qcow2Compression;

/* Entries of L1 and L2 tables. */
#define QCOW2_COPIED (UINT64_C(1) << 63)     /* refcount is exactly one: may be written in place */
#define QCOW2_COMPRESSED (UINT64_C(1) << 62)
#define QCOW2_ZERO (UINT64_C(1) << 0)
#define QCOW2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define QCOW2_L1_RESERVED UINT64_C(0x7f000000000001ff)
#define QCOW2_L2_RESERVED UINT64_C(0x3f000000000001fe) /* of a standard descriptor */
#define QCOW2_REFTABLE_OFFSET_MASK UINT64_C(0xfffffffffffffe00)
#define QCOW2_REFTABLE_RESERVED UINT64_C(0x1ff)

#define QCOW2_SUBCLUSTERS 32 /* of a cluster with extended L2 entries */

#endif
