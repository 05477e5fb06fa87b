/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The words of the block layer: types that refer to one another, permissions, roles and flags. */
#ifndef BLOCK_BLOCK_TYPES_H
#define BLOCK_BLOCK_TYPES_H

#include <glib.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#include "qmp-schema/qmp-types.h"

typedef struct BlockNode BlockNode;
typedef struct BlockChild BlockChild;
typedef struct BlockDriver BlockDriver;
typedef struct BlockUser BlockUser;
typedef struct BlockReq BlockReq;
typedef struct BlockHook BlockHook;

/*
 * Permissions: what a parent does with a node, and what it lets the node's other parents do.  The
 * bits are QEMU's (they are also the bytes that are locked in image files).
 */
typedef enum BlockPerm {
    BLOCK_PERM_CONSISTENT_READ = 0x01, /* read, and what is read is the disk at some instant */
    BLOCK_PERM_WRITE = 0x02,
    BLOCK_PERM_WRITE_UNCHANGED = 0x04, /* writes that do not change what is read */
    BLOCK_PERM_RESIZE = 0x08,
    BLOCK_PERM_ALL = 0x0f,
} BlockPerm;

/* The largest size of a node (QEMU's): rounding up to any alignment does not overflow. */
#define BLOCK_MAX_SIZE (INT64_MAX - INT64_MAX % (INT64_C(1) << 30))

/* What a child is for, seen from its parent. */
typedef enum BlockRole {
    BLOCK_ROLE_DATA = 0x01,     /* guest data is stored in it */
    BLOCK_ROLE_METADATA = 0x02, /* the parent's metadata is stored in it */
    BLOCK_ROLE_FILTERED = 0x04, /* the parent is a filter and shows this child's data */
    BLOCK_ROLE_COW = 0x08,      /* a backing file */
    BLOCK_ROLE_PRIMARY = 0x10,  /* stands for the parent: image file, filtered node */
} BlockRole;

/* Flags of requests. */
typedef enum BlockFlags {
    BLOCK_FUA = 0x01,             /* on stable storage before the request completes */
    BLOCK_MAY_UNMAP = 0x02,       /* write-zeroes may deallocate */
    BLOCK_NO_FALLBACK = 0x04,     /* write-zeroes fails with -ENOTSUP rather than write buffers */
    BLOCK_WRITE_UNCHANGED = 0x08, /* needs only BLOCK_PERM_WRITE_UNCHANGED; marks no bitmap */
    BLOCK_COMPRESSED = 0x10,      /* write as compressed clusters */
    BLOCK_SERIALISING = 0x20,     /* wait for overlapping requests, and let later ones wait */
    BLOCK_BACKGROUND = 0x40,      /* a read that no guest waits for: a copier's, or of a view */
} BlockFlags;

/* The alignment in which a node takes requests, and their largest sizes. 0 means no limit. */
typedef struct BlockLimits {
    uint32_t request_alignment; /* power of two, at least 1 */
    uint32_t mem_alignment;     /* of buffers, power of two, at least 1 */
    uint32_t min_mem_alignment; /* smaller one that still works */
    int64_t max_transfer;
    int64_t opt_transfer;
    int64_t max_write_zeroes, write_zeroes_alignment;
    int64_t max_discard, discard_alignment;
    int max_iov;
} BlockLimits;

#endif
