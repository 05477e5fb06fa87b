/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the files of check and repair (check*.c), and by nobody else.
 *
 * A check counts for each host cluster how often the tables refer to it, and compares that with
 * the refcounts.  Clusters are taken in ranges, so that the counts take a bounded amount of memory
 * whatever the size of the file; all references are walked once for each range (most images are
 * one range).  What is wrong with the references themselves is reported in the first range only.
 *
 * Nothing is counted behind the end of the file: a reference that goes a cluster or more beyond it
 * is a corruption.
 */
#ifndef BLOCK_DRIVERS_QCOW2_CHECK_INT_H
#define BLOCK_DRIVERS_QCOW2_CHECK_INT_H

#include "block/drivers/qcow2/check.h"

/* Clusters in a range: a multiple of what any refcount block covers; 64 MiB of counts. */
#define QCOW2_CHECK_RANGE (INT64_C(1) << 24)

typedef struct Qcow2Checker {
    BlockNode *node;
    Qcow2State *s;
    unsigned fix;
    Qcow2CheckResult *result;
    BlockCheckStopFn *stop;
    void *opaque;

    /* What the check has cost: bytes of tables and of counts that it looked at. */
    int64_t work, max_work;
    int64_t next_pass; /* work after which others are let run */
    int64_t refblock;  /* index of the refcount block that was looked up last; check-copied.c */

    int64_t file_bytes;
    int64_t clusters; /* that the file has; the last one may be cut */
    int64_t limit;    /* clusters that may be referred to: one more, see count_reference() */
    uint32_t max;     /* the highest count: what a refcount can be, as far as it fits */

    /* The range that is being counted. */
    int64_t first, end;
    uint32_t *counts;   /* of end - first clusters */
    bool counted;       /* … hold all references into it */
    bool report;        /* what is wrong with references is reported now */
    bool skip_refcounts; /* references to refcount table and blocks are left out (rebuild) */

    bool rebuild;       /* some refcounts have no place, or one that cannot be trusted */
    bool incomplete;    /* not all references are known: nothing may be freed */
    int64_t highest;    /* cluster that is in use; -1: none yet */
    unsigned told;      /* messages */

    uint8_t *l1_part, *table, *block; /* buffers; the last two of a cluster */
} Qcow2Checker;

#define QCOW2_CHECK_L1_PART 65536

/* Counts a corruption, and says what it is (the first few). */
void qcow2_check_corruption(Qcow2Checker *c, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* The same without counting. */
void qcow2_check_tell(Qcow2Checker *c, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* The check itself failed with @ret at something: counts and tells; returns @ret. */
int qcow2_check_failed(Qcow2Checker *c, int ret, const char *what, int64_t offset);

/*
 * Called before @bytes more are looked at: lets others run now and then.  0; -ECANCELED when the
 * check is to stop, -E2BIG when it has cost more than it may.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_check_work(Qcow2Checker *c, int64_t bytes);

/* Mends a part of a table: co_qcow2_write_meta(), whose look for overlaps is work, too. */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_check_write(Qcow2Checker *c, unsigned area, int64_t offset,
                                                   const void *buf, size_t len);

/* Counts all references into the range [first, first + QCOW2_CHECK_RANGE) (check-walk.c). */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_check_count(Qcow2Checker *c, int64_t first);
void qcow2_check_reference(Qcow2Checker *c, int64_t offset, int64_t bytes);
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_check_walk_bitmaps(Qcow2Checker *c);

/* Puts a new refcount table with new blocks at the end of the file (check-rebuild.c). */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_check_rebuild(Qcow2Checker *c);

/* Compares the flag COPIED in active tables with refcounts (check-copied.c). */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_check_copied(Qcow2Checker *c);

static inline uint64_t qcow2_check_be64(const uint8_t *table, uint64_t index)
{
    uint64_t value;

    __builtin_memcpy(&value, table + index * 8, 8);
    return GUINT64_FROM_BE(value);
}

static inline void qcow2_check_put_be64(uint8_t *table, uint64_t index, uint64_t value)
{
    value = GUINT64_TO_BE(value);
    __builtin_memcpy(table + index * 8, &value, 8);
}

/* How many bytes an L1 table's part from entry @first on takes, as far as the buffer holds. */
static inline uint32_t qcow2_check_l1_entries(uint32_t first, uint32_t entries)
{
    return MIN(entries - first, QCOW2_CHECK_L1_PART / 8);
}

#endif
