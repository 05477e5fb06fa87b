/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state of an opened qcow2 image, shared by the files of the driver and by nobody else.
 *
 * The parts, each in a file of its own:
 *   header       the first cluster                       table-cache  L2 slices, refcount blocks
 *   refcount     which host clusters are used            map          guest offset to host clusters
 *   alloc        writes that change the map              io           requests
 *   overlap      nothing is written over metadata        resize       the size of the disk
 *   snapshots    the internal snapshot table             compress     compressed clusters
 *   bitmaps      persistent bitmaps                      check        check and repair
 *   create       new images                              qcow2        opening, options, closing
 *
 * Locks.  Everything is on node->loop.  s->lock covers every change of metadata (L1, L2, refcounts,
 * header) and the writing of it; only the corrupt bit is set and written without it, by a reader
 * that finds damage, since it may have a table pinned that a holder waits for.  Reading the map
 * needs no lock: entries change in one step without a yield.  Data is read and written without the
 * lock.
 *
 * Order on disk (what makes kill -9 and power loss harmless: at worst leaks).
 *   O1  a cluster's refcount is on disk before anything that refers to it (L2 entry, L1 entry …);
 *   O2  a reference is off the disk before its refcount goes down, and so before it is used again;
 *   O3  what is copied on write is on disk before the L2 entry that shows it;
 *   O4  an L2 table is on disk before the L1 entry that shows it.
 *   With lazy refcounts O1 does not hold: the dirty bit is on disk before the first change.
 *
 * In flight.  A request that reads or writes host clusters is on s->host_io while it does so, and
 * clusters there are not allocated again, should somebody free them meanwhile (refcount.c).
 */
#ifndef BLOCK_DRIVERS_QCOW2_QCOW2_H
#define BLOCK_DRIVERS_QCOW2_QCOW2_H

#include "block/driver.h"
#include "block/drivers/qcow2/header.h"
#include "block/drivers/qcow2/table-cache.h"
#include "block/node-io.h"

/* A range of the image file (or data file) that is being read, written or discarded. */
typedef struct Qcow2HostIo {
    int64_t offset, bytes;
    struct Qcow2HostIo *next, **prev;
} Qcow2HostIo;

typedef struct Qcow2Allocation Qcow2Allocation; /* alloc.h */

/* What the options say of freed clusters: why a cluster is freed decides if the file is told. */
typedef enum Qcow2Discard {
    QCOW2_DISCARD_NEVER,
    QCOW2_DISCARD_ALWAYS,
    QCOW2_DISCARD_REQUEST,  /* a guest's discard (pass-discard-request) */
    QCOW2_DISCARD_SNAPSHOT, /* a snapshot is deleted */
    QCOW2_DISCARD_OTHER,
    QCOW2_DISCARD__MAX,
} Qcow2Discard;

/* The areas that overlap.c guards; bits of Qcow2State.overlap_checks. */
typedef enum Qcow2Area {
    QCOW2_AREA_HEADER = 0x001,
    QCOW2_AREA_ACTIVE_L1 = 0x002,
    QCOW2_AREA_ACTIVE_L2 = 0x004,
    QCOW2_AREA_REFCOUNT_BLOCK = 0x008,
    QCOW2_AREA_REFCOUNT_TABLE = 0x010,
    QCOW2_AREA_SNAPSHOT_TABLE = 0x020,
    QCOW2_AREA_INACTIVE_L1 = 0x040,
    QCOW2_AREA_INACTIVE_L2 = 0x080,
    QCOW2_AREA_BITMAP_DIRECTORY = 0x100,
} Qcow2Area;

/* One internal snapshot, as the table has it. */
typedef struct Qcow2Snapshot {
    int64_t l1_offset;
    uint32_t l1_size; /* entries */
    char *id, *name;
    int64_t disk_size; /* bytes */
    uint64_t vm_state_size, vm_clock_ns;
    uint32_t date_sec, date_nsec;
    uint64_t icount; /* UINT64_MAX: none */
    uint8_t *unknown_extra; /* extra data behind the fields we know, kept; NULL if none */
    uint32_t unknown_extra_len;
    uint32_t extra_len; /* all extra data in the file */
} Qcow2Snapshot;

typedef struct Qcow2State {
    BlockNode *node;
    BlockChild *data;    /* where guest clusters are: node->file, or the child "data-file" */
    bool external_data;  /* … it is the child "data-file": host offset = guest offset */
    bool raw_external;   /* … which is a raw image of the disk (QCOW2_RAW_DATA_FILE) */

    Qcow2Header header;  /* as in the file; who changes it calls co_qcow2_header_write() */

    /* Geometry, from the header. */
    unsigned cluster_bits;
    int64_t cluster_size;
    bool extended_l2;
    unsigned l2_entry_bits;   /* an entry is 1 << this bytes: 3, or 4 if extended */
    unsigned l2_bits;         /* a table has 1 << this entries */
    unsigned slice_bits;      /* a cached slice has 1 << this entries */
    unsigned subclusters;     /* of a cluster: 1 or 32 */
    unsigned subcluster_bits; /* a subcluster is 1 << this bytes */
    int64_t subcluster_size;
    unsigned refcount_bits;   /* 1 to 64 */
    uint64_t refcount_max;
    unsigned refblock_bits;   /* a refcount block has 1 << this entries */
    unsigned csize_shift;     /* compressed descriptors: 62 - (cluster_bits - 8) */
    uint64_t csize_mask, coffset_mask;

    CoMutex lock;
    CoMutex header_writing; /* header-write.c; taken last */

    /* The active L1 table, host byte order; header.l1_size entries.  map.h */
    uint64_t *l1;
    unsigned l1_dirty_first, l1_dirty_end; /* entries not yet written; equal: none */
    Qcow2Cache *l2_cache;

    /* refcount.h */
    uint64_t *refcount_table; /* host byte order */
    uint32_t refcount_table_size; /* entries */
    Qcow2Cache *refcount_cache;
    int64_t free_cluster_hint; /* index: no free cluster lies before it */
    int64_t free_byte_offset;  /* behind the last compressed cluster, in its cluster; 0: none */
    GArray *discards;          /* freed ranges that the file is to be told of; refcount-free.c */

    Qcow2HostIo *host_io;
    Qcow2Allocation *allocations; /* in flight */

    /* snapshots.h; header.snapshots of them */
    Qcow2Snapshot *snapshots;
    int64_t snapshots_bytes; /* of the table in the file */

    /* Options. */
    bool lazy_refcounts;
    bool discard_passthrough[QCOW2_DISCARD__MAX];
    bool discard_no_unref;
    unsigned overlap_checks; /* Qcow2Area bits */
    GHashTable *tables;      /* cluster numbers of L2 tables and refcount blocks; overlap.c */
    uint64_t cache_clean_interval; /* seconds; 0: never */
    struct Qcow2Cleaner *cleaner;  /* cleaner.c */

    bool broken;       /* a fatal corruption was found: everything fails with -EIO */
    bool repair_only;  /* opened for a check alone: broken, before and after it */
    bool corrupt_told; /* a non-fatal one was reported */
    int64_t fresh_from; /* the image file was never written from there on: it reads as zeroes */
    bool sparse_checked, sparse; /* block status asks the file for holes: io-status.c */
    int64_t file_used; /* the image file is in use up to there; what is longer is cut at close */
    unsigned packers;  /* clusters that workers pack or unpack right now; compress.c */
    CoQueue packer_ended;

    /*
     * Held while header.backing_name, its format, or the list of bitmaps is changed (always under
     * s->lock too), and by queries, which read them on loop 0.
     */
    GMutex info_lock;

    /* What the parts beside the core keep; made and freed by them.  NULL: nothing. */
    struct Qcow2Bitmaps *bitmaps; /* bitmaps.c */
} Qcow2State;

static inline Qcow2State *qcow2_state(const BlockNode *node)
{
    return (Qcow2State *)node->state;
}

static inline int64_t qcow2_cluster_start(const Qcow2State *s, int64_t offset)
{
    return offset & -s->cluster_size;
}

static inline int64_t qcow2_cluster_end(const Qcow2State *s, int64_t offset)
{
    return (offset + s->cluster_size - 1) & -s->cluster_size;
}

static inline int64_t qcow2_in_cluster(const Qcow2State *s, int64_t offset)
{
    return offset & (s->cluster_size - 1);
}

/* The edge to the backing file, or NULL.  It may be changed while the graph is drained. */
static inline BlockChild *qcow2_backing(const BlockNode *node)
{
    for (unsigned i = 0; i < node->children->len; i++) {
        BlockChild *child = node->children->pdata[i];

        if (child->role & BLOCK_ROLE_COW) {
            return child;
        }
    }
    return NULL;
}

static inline bool qcow2_writable(const BlockNode *node)
{
    return !node->options.read_only;
}

static inline void qcow2_host_io_begin(Qcow2State *s, Qcow2HostIo *io, int64_t offset,
                                       int64_t bytes)
{
    *io = (Qcow2HostIo){ .offset = offset, .bytes = bytes, .next = s->host_io,
                         .prev = &s->host_io };
    if (io->next) {
        io->next->prev = &io->next;
    }
    s->host_io = io;
}

static inline void qcow2_host_io_end(Qcow2HostIo *io)
{
    *io->prev = io->next;
    if (io->next) {
        io->next->prev = io->prev;
    }
}

/*
 * Reads and writes of the image file by metadata code.  Reading behind the end of the file gives
 * zeroes; writing grows it (co_qcow2_file_grow).  co_qcow2_write_meta() checks first that nothing
 * but what @ignore names (Qcow2Area bits: the kind that is being written) lies there.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_read_file(BlockNode *node, int64_t offset, void *buf,
                                                 size_t len);
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_write_meta(BlockNode *node, unsigned ignore, int64_t offset,
                                                  const void *buf, size_t len);

/* The image file is at least @end bytes long after it (it grows in steps). */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_file_grow(BlockNode *node, int64_t end);

/* Flushes the image file, and the data file where there is one. */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_flush_files(BlockNode *node);

/*
 * Writes refcounts, L2 tables and L1 in the order O1 to O4.  No flush behind it.  Lock held.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_write_metadata(BlockNode *node);

/* The same, then forgets all cached tables (before check and repair).  Lock held. */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_drop_caches(BlockNode *node);

/*
 * Reports that the image is damaged: the event BLOCK_IMAGE_CORRUPTED and a warning.  @fatal: the
 * image gets the corrupt bit (version 3, writable) and takes no more requests; else only the first
 * one is reported.  @offset < 0: unknown.  Returns -EIO.
 */
int co_qcow2_corrupt(BlockNode *node, bool fatal, int64_t offset, int64_t bytes,
                     const char *format, ...) G_GNUC_PRINTF(5, 6);

/*
 * Opens the node's backing file by the name and format in its header, and attaches it as "backing".
 * (backing-name.c)
 */
bool co_qcow2_open_backing(BlockNode *node, GError **errp);

/*
 * Programs that do not know a feature clear its autoclear bit before they write, so that those who
 * do can tell: when the image is opened for writing, and when it becomes writable.  (qcow2.c)
 */
bool co_qcow2_clear_unknown(BlockNode *node, GError **errp);

/* For query-named-block-nodes; the operation fill_info of the driver.  (info.c) */
void qcow2_fill_info(const BlockNode *node, ImageInfo *info);

/* Writes another name into the header, flushed; the operation co_set_backing_name of the driver. */
int co_qcow2_set_backing_name(BlockNode *node, const char *name, const char *format);

#endif
