/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The map from guest offsets to host clusters: L1 and L2 tables.
 *
 * Each entry is checked before it is used; one that is damaged marks the image as corrupt and
 * fails with -EIO.
 */
#ifndef BLOCK_DRIVERS_QCOW2_MAP_H
#define BLOCK_DRIVERS_QCOW2_MAP_H

#include "block/drivers/qcow2/qcow2.h"

/* What a subcluster (a cluster, where there are none) is. */
typedef enum Qcow2Kind {
    QCOW2_KIND_UNALLOCATED,       /* read from the backing file */
    QCOW2_KIND_UNALLOCATED_ALLOC, /* the same, but its cluster has room in the file */
    QCOW2_KIND_ZERO,              /* zeroes without room in the file */
    QCOW2_KIND_ZERO_ALLOC,        /* zeroes, with room in the file */
    QCOW2_KIND_NORMAL,
    QCOW2_KIND_COMPRESSED,
    QCOW2_KIND_INVALID,           /* only within map.c */
} Qcow2Kind;

/* A run of guest bytes of one kind, contiguous in the file where they have room there. */
typedef struct Qcow2Run {
    Qcow2Kind kind;
    int64_t bytes;
    int64_t host;   /* of the first byte: NORMAL, ZERO_ALLOC, UNALLOCATED_ALLOC */
    uint64_t entry; /* COMPRESSED: the L2 entry; the run ends with its cluster */
    bool copied;    /* all of it may be written in place (refcount 1) */
} Qcow2Run;

/* Loads the L1 table; at open. */
bool co_qcow2_map_open(BlockNode *node, GError **errp);
void qcow2_map_close(BlockNode *node);

/*
 * What is at @offset, and how far it goes on, at most @bytes (more than 0).  No lock.  Does not
 * yield where the slice is cached.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_map(BlockNode *node, int64_t offset, int64_t bytes,
                                           Qcow2Run *run);

/* An L2 entry in memory. */
typedef struct Qcow2Entry {
    uint64_t descriptor; /* host byte order */
    uint64_t bitmap;     /* of subclusters; 0 without extended L2 */
} Qcow2Entry;

/* A pinned slice with the entry of one guest offset in it. */
typedef struct Qcow2Slice {
    Qcow2Table *table;
    unsigned index;   /* of the entry in the slice */
    unsigned entries; /* from there to the end of the slice */
} Qcow2Slice;

/*
 * Pins the slice of @offset so that it can be changed: the L2 table is allocated, or copied where
 * a snapshot has it too.  Lock held; qcow2_map_put() after.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_map_get(BlockNode *node, int64_t offset, Qcow2Slice *slice);
void qcow2_map_put(BlockNode *node, Qcow2Slice *slice);

/* Entry number slice->index + @i; set marks the slice dirty. */
Qcow2Entry qcow2_map_entry(const Qcow2State *s, const Qcow2Slice *slice, unsigned i);
void qcow2_map_set_entry(BlockNode *node, const Qcow2Slice *slice, unsigned i, Qcow2Entry entry);

/* The kind of subcluster @sub of an entry. */
Qcow2Kind qcow2_entry_kind(const Qcow2State *s, Qcow2Entry entry, unsigned sub);

/* Is the host offset of a standard entry (or 0: none)? */
static inline int64_t qcow2_entry_host(Qcow2Entry entry)
{
    return entry.descriptor & QCOW2_COMPRESSED ? 0 : entry.descriptor & QCOW2_OFFSET_MASK;
}

/* Sets an L1 entry in memory; it is written with the metadata.  Lock held. */
void qcow2_l1_set(Qcow2State *s, uint32_t index, uint64_t entry);

/* Writes the dirty part of L1, after L2 (O4).  Lock held. */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_l1_write(BlockNode *node);

/* Makes room for @entries in L1 (resize): a new table in the file, the old one is freed. */
bool co_qcow2_l1_grow(BlockNode *node, uint32_t entries, GError **errp);

/* Where a compressed entry's data is: offset, and bytes up to the end of its last sector. */
void qcow2_compressed_place(const Qcow2State *s, uint64_t entry, int64_t *offset, int64_t *bytes);

#endif
