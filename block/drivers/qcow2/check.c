/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Check and repair: the steps.  See check-int.h for how it counts.
 *
 *   1  all references are counted and compared with the refcounts; nothing is changed but L2
 *      entries that stand for zeroes and have a place that cannot be (a repair of errors);
 *   2  wrong refcounts are set right in their blocks.  Where a block is missing or cannot be
 *      trusted, a repair of errors writes all refcounts anew at the end of the file instead, and
 *      counts again;
 *   3  the flag COPIED is compared with the refcounts, and set right;
 *   4  where nothing is left, a repair clears the dirty and corrupt bits.
 *
 * A refcount is lowered only when all references are known (else data could be lost), and nothing
 * is changed when reading failed.
 */
#include "block/drivers/qcow2/check-int.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "block/control.h"
#include "block/drivers/qcow2/header.h"
#include "block/drivers/qcow2/overlap.h"
#include "block/drivers/qcow2/refcount.h"

#define MAX_MESSAGES 32
#define WORK_BETWEEN_PASSES (INT64_C(1) << 20)
#define WORK_OF_WRITE 4096

/* What opening an image may cost: some times what its file holds, or as much as a second does. */
#define OPEN_WORK_FACTOR 4
#define OPEN_WORK_MIN (INT64_C(1) << 30)

/* --- telling --- */

static void tell(Qcow2Checker *c, const char *format, va_list args)
{
    g_autofree char *text = NULL;

    if (c->told++ < MAX_MESSAGES) {
        text = g_strdup_vprintf(format, args);
        fprintf(stderr, "Check of node '%s': %s\n", c->node->name, text);
    }
}

void qcow2_check_tell(Qcow2Checker *c, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    tell(c, format, args);
    va_end(args);
}

void qcow2_check_corruption(Qcow2Checker *c, const char *format, ...)
{
    va_list args;

    c->result->corruptions++;
    va_start(args, format);
    tell(c, format, args);
    va_end(args);
}

int qcow2_check_failed(Qcow2Checker *c, int ret, const char *what, int64_t offset)
{
    c->result->check_errors++;
    qcow2_check_tell(c, "%s at %#" PRIx64 ": %s", what, offset, g_strerror(-ret));
    return ret;
}

/* --- working --- */

int co_qcow2_check_work(Qcow2Checker *c, int64_t bytes)
{
    c->work += bytes;
    if (c->work > c->max_work) {
        return -E2BIG;
    }
    if (c->work >= c->next_pass) {
        c->next_pass = c->work + WORK_BETWEEN_PASSES;
        co_pass();
    }
    return c->stop && c->stop(c->opaque) ? -ECANCELED : 0;
}

int co_qcow2_check_write(Qcow2Checker *c, unsigned area, int64_t offset, const void *buf,
                         size_t len)
{
    const Qcow2State *s = c->s;
    int64_t entries = (int64_t)s->header.l1_size + s->refcount_table_size + s->header.snapshots;
    int ret = co_qcow2_check_work(c, WORK_OF_WRITE + entries * 8);

    return ret < 0 ? ret : co_qcow2_write_meta(c->node, area, offset, buf, len);
}

/* --- comparing one refcount block --- */

typedef struct Refblock {
    uint64_t index;
    int64_t offset; /* 0: there is none */
    bool unusable, dirty;
} Refblock;

static int co_load_refblock(Qcow2Checker *c, Refblock *b)
{
    uint64_t entry = b->index < c->s->refcount_table_size ? c->s->refcount_table[b->index] : 0;
    int ret;

    b->offset = entry & QCOW2_REFTABLE_OFFSET_MASK;
    b->unusable = entry & (c->s->cluster_size - 1) & QCOW2_REFTABLE_OFFSET_MASK;
    memset(c->block, 0, c->s->cluster_size);
    if (!b->offset || b->unusable || b->offset < 0 || b->offset >= c->file_bytes) {
        return 0;
    }
    ret = co_qcow2_read_file(c->node, b->offset, c->block, c->s->cluster_size);
    return ret < 0 ? qcow2_check_failed(c, ret, "reading a refcount block", b->offset) : 0;
}

/* May this refcount be set right now (step 2)? */
static bool may_fix(const Qcow2Checker *c, uint64_t is, uint64_t should_be, bool fixing)
{
    return fixing && (is < should_be ? c->fix & QCOW2_FIX_ERRORS
                                     : (c->fix & QCOW2_FIX_LEAKS) && !c->incomplete);
}

/* In step 2 what is found was counted before. */
static void count_difference(Qcow2Checker *c, bool too_low, bool fixing)
{
    Qcow2CheckResult *r = c->result;

    if (fixing) {
        *(too_low ? &r->corruptions : &r->leaks) -= 1;
        *(too_low ? &r->corruptions_fixed : &r->leaks_fixed) += 1;
    } else {
        *(too_low ? &r->corruptions : &r->leaks) += 1;
    }
}

static void compare_cluster(Qcow2Checker *c, Refblock *b, int64_t cluster, bool fixing)
{
    uint64_t entry = cluster & ((INT64_C(1) << c->s->refblock_bits) - 1);
    uint64_t is = qcow2_refcount_entry(c->block, c->s->refcount_bits, entry);
    uint64_t should_be = c->counts[cluster - c->first];

    if (is || should_be) {
        c->highest = MAX(c->highest, cluster);
    }
    if (is == should_be) {
        return;
    }
    if (!fixing) {
        c->rebuild |= !b->offset || b->offset >= c->file_bytes;
        count_difference(c, is < should_be, false);
        qcow2_check_tell(c, "%s: cluster %" PRIi64 " has refcount %" PRIu64 ", not %" PRIu64,
                         is < should_be ? "corruption" : "leak", cluster, is, should_be);
    } else if (may_fix(c, is, should_be, fixing)) {
        qcow2_refcount_set_entry(c->block, c->s->refcount_bits, entry, should_be);
        b->dirty = true;
        count_difference(c, is < should_be, true);
    }
}

/* The range's clusters; one more if it is used, which begins at the end of the file. */
static int64_t compare_end(const Qcow2Checker *c)
{
    bool beyond = c->end > c->clusters && c->counts[c->clusters - c->first] > 0;

    return beyond ? c->end : MIN(c->end, c->clusters);
}

static int co_compare_block(Qcow2Checker *c, int64_t from, int64_t to, bool fixing)
{
    Refblock b = { .index = from >> c->s->refblock_bits };
    int ret = co_load_refblock(c, &b);

    if (ret < 0) {
        return ret;
    }
    for (int64_t i = from; i < to; i++) {
        if (b.unusable) {
            c->result->check_errors++; /* its refcounts cannot be known */
        } else {
            compare_cluster(c, &b, i, fixing);
        }
    }
    return b.dirty ? co_qcow2_check_write(c, QCOW2_AREA_REFCOUNT_BLOCK, b.offset, c->block,
                                          c->s->cluster_size)
                   : 0;
}

static int co_compare(Qcow2Checker *c, bool fixing)
{
    int64_t per_block = INT64_C(1) << c->s->refblock_bits, end = compare_end(c);
    int ret = 0;

    for (int64_t i = c->first; i < end && ret == 0; i += per_block) {
        int64_t to = MIN(i + per_block, end);

        ret = co_qcow2_check_work(c, c->s->cluster_size + (to - i) * sizeof(*c->counts));
        if (ret == 0) {
            ret = co_compare_block(c, i, to, fixing);
        }
    }
    return ret;
}

/* --- the steps --- */

static int co_all_ranges(Qcow2Checker *c, bool fixing)
{
    int ret = 0;

    for (int64_t first = 0; first < c->limit && ret == 0; first += QCOW2_CHECK_RANGE) {
        bool counted = fixing && c->limit <= QCOW2_CHECK_RANGE;

        c->report = first == 0 && !fixing;
        ret = counted ? 0 : co_qcow2_check_count(c, first);
        if (ret == 0) {
            ret = co_compare(c, fixing);
        }
    }
    return ret;
}

/* Step 2 where all is written anew: what was wrong and is not any more counts as mended. */
static int co_rebuild(Qcow2Checker *c)
{
    Qcow2CheckResult *r = c->result, old = *r;
    int ret = co_qcow2_check_rebuild(c);

    if (ret < 0) {
        return qcow2_check_failed(c, ret, "writing new refcounts", 0);
    }
    *r = (Qcow2CheckResult){ .total_clusters = old.total_clusters,
                             .corruptions_fixed = old.corruptions_fixed };
    c->rebuild = false;
    c->highest = -1;
    ret = co_all_ranges(c, false);
    r->corruptions_fixed += MAX(old.corruptions - r->corruptions, 0);
    r->leaks_fixed += MAX(old.leaks - r->leaks, 0);
    return ret;
}

static bool has_wrong_refcounts(const Qcow2Checker *c)
{
    return c->result->corruptions || c->result->leaks;
}

static int co_mend_refcounts(Qcow2Checker *c)
{
    if (c->rebuild) {
        return c->fix & QCOW2_FIX_ERRORS && !c->incomplete ? co_rebuild(c) : 0;
    }
    return c->fix && has_wrong_refcounts(c) ? co_all_ranges(c, true) : 0;
}

/* Step 4. */
static int co_mark_good(Qcow2Checker *c)
{
    Qcow2State *s = c->s;
    uint64_t bad = s->header.incompatible & (QCOW2_DIRTY | QCOW2_CORRUPT);
    int ret;

    if (!c->fix || c->result->check_errors || c->result->corruptions) {
        return 0;
    }
    ret = co_qcow2_flush_files(c->node);
    if (ret == 0 && bad) {
        s->header.incompatible &= ~bad;
        ret = co_qcow2_header_commit(c->node);
        if (ret < 0) {
            s->header.incompatible |= bad;
            co_qcow2_header_take_back(c->node);
        }
    }
    if (ret == 0) {
        s->broken = s->repair_only;
        s->corrupt_told = false;
    }
    return ret;
}

static int co_steps(Qcow2Checker *c)
{
    int ret = co_all_ranges(c, false);

    if (ret == 0 && (c->result->check_errors == 0 || c->rebuild)) {
        ret = co_mend_refcounts(c);
    }
    c->result->image_end_offset = (c->highest + 1) << c->s->cluster_bits;
    if (ret == 0) {
        ret = co_qcow2_check_copied(c);
    }
    return ret < 0 ? ret : co_mark_good(c);
}

/* --- around them --- */

static bool take_memory(Qcow2Checker *c)
{
    c->counts = g_try_new(uint32_t, MIN(c->limit, QCOW2_CHECK_RANGE));
    c->l1_part = g_try_malloc(QCOW2_CHECK_L1_PART);
    c->table = g_try_malloc(c->s->cluster_size);
    c->block = g_try_malloc(c->s->cluster_size);
    return c->counts && c->l1_part && c->table && c->block;
}

static void free_memory(Qcow2Checker *c)
{
    g_free(c->counts);
    g_free(c->l1_part);
    g_free(c->table);
    g_free(c->block);
}

static int co_check(BlockNode *node, unsigned fix, int64_t max_work, Qcow2CheckResult *result,
                    BlockCheckStopFn *stop, void *opaque)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Checker c = { .node = node, .s = s, .fix = fix, .result = result, .stop = stop,
                       .opaque = opaque, .max_work = max_work, .highest = -1 };
    int ret = co_qcow2_drop_caches(node);

    *result = (Qcow2CheckResult){ 0 };
    if (ret < 0) {
        return ret;
    }
    c.file_bytes = node->file->node->size;
    c.clusters = (c.file_bytes >> s->cluster_bits) + !!qcow2_in_cluster(s, c.file_bytes);
    c.limit = c.clusters + 1;
    c.max = MIN(s->refcount_max, UINT32_MAX);
    result->total_clusters =
        qcow2_cluster_end(s, s->header.size & -INT64_C(512)) >> s->cluster_bits;
    ret = take_memory(&c) ? co_steps(&c) : -ENOMEM;
    free_memory(&c);
    if (fix) { /* there may be free clusters where there were none */
        s->free_cluster_hint = 0;
        s->free_byte_offset = 0;
        qcow2_overlap_forget_tables(s);
    }
    return ret;
}

/* A sparse file may be of any length: what counts is the room that it takes. */
static int64_t open_work(BlockNode *node)
{
    int64_t bytes = node->driver->image->co_allocated_size(node);

    return MAX((bytes < 0 ? node->file->node->size : bytes) * OPEN_WORK_FACTOR, OPEN_WORK_MIN);
}

static bool is_stopping(void *opaque)
{
    return control_stopping();
}

int co_qcow2_check_at_open(BlockNode *node, Qcow2CheckResult *result)
{
    return co_check(node, QCOW2_FIX_ERRORS | QCOW2_FIX_LEAKS, open_work(node), result,
                    is_stopping, NULL);
}

int qcow2_co_check(BlockNode *node, unsigned fix, BlockCheckResult *result,
                   BlockCheckStopFn *stop, void *opaque)
{
    Qcow2State *s = qcow2_state(node);
    int ret;

    co_mutex_lock(&s->lock);
    ret = co_check(node, fix, INT64_MAX, result, stop, opaque);
    co_mutex_unlock(&s->lock);
    return ret;
}
