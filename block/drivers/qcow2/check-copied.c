/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Step 3 of a check: in the active tables the flag COPIED says that a cluster's refcount is exactly
 * one.  Refcounts are as the file has them (set right before, if that was asked for).
 */
#include "block/drivers/qcow2/check-int.h"

#include <errno.h>

#include "block/drivers/qcow2/refcount.h"

/*
 * A repair of leaks alone goes by the refcounts only where they are all right by now.
 */
static bool may_repair(const Qcow2Checker *c)
{
    const Qcow2CheckResult *r = c->result;

    return (c->fix & QCOW2_FIX_ERRORS) ||
           (c->fix && !r->check_errors && !r->corruptions && !r->leaks);
}

/* A refcount in another block than the last one has to be read: few blocks are cached. */
static int co_reach_refcount(Qcow2Checker *c, uint64_t entry)
{
    int64_t cluster = (entry & QCOW2_OFFSET_MASK) >> c->s->cluster_bits;
    int64_t refblock = cluster >> c->s->refblock_bits;

    if (c->s->external_data || refblock == c->refblock) {
        return 0;
    }
    c->refblock = refblock;
    return co_qcow2_check_work(c, c->s->cluster_size);
}

/* Whether the flag is wrong; false where the refcount cannot be known (which was reported). */
static bool co_is_wrong(Qcow2Checker *c, uint64_t entry, bool in_data_file)
{
    int64_t offset = entry & QCOW2_OFFSET_MASK;
    uint64_t refcount = 1;

    if (!in_data_file &&
        co_qcow2_refcount_get(c->node, offset >> c->s->cluster_bits, &refcount) < 0) {
        return false;
    }
    return (refcount == 1) != !!(entry & QCOW2_COPIED);
}

static bool is_standard_with_place(const Qcow2Checker *c, uint64_t entry)
{
    if (entry & QCOW2_COMPRESSED) {
        return false;
    }
    return (entry & QCOW2_OFFSET_MASK) ||
           (c->s->external_data && (entry & QCOW2_COPIED) && !(entry & QCOW2_ZERO));
}

/* Sets the table in memory right; how many entries were wrong, or -errno. */
static int co_check_entries(Qcow2Checker *c)
{
    unsigned words = 1u << (c->s->l2_entry_bits - 3), n = 1u << c->s->l2_bits;
    int wrong = 0, ret;

    for (unsigned i = 0; i < n; i++) {
        uint64_t entry = qcow2_check_be64(c->table, (uint64_t)i * words);

        if (!is_standard_with_place(c, entry)) {
            continue;
        }
        ret = co_reach_refcount(c, entry);
        if (ret < 0) {
            return ret;
        }
        if (!co_is_wrong(c, entry, c->s->external_data)) {
            continue;
        }
        wrong++;
        qcow2_check_corruption(c, "the flag COPIED of L2 entry %#" PRIx64 " is wrong", entry);
        qcow2_check_put_be64(c->table, (uint64_t)i * words, entry ^ QCOW2_COPIED);
    }
    return wrong;
}

static int co_check_table(Qcow2Checker *c, int64_t offset)
{
    int ret, wrong;

    if (offset >= c->file_bytes) {
        return 0;
    }
    ret = co_qcow2_read_file(c->node, offset, c->table, c->s->cluster_size);
    if (ret < 0) {
        return qcow2_check_failed(c, ret, "reading an L2 table", offset);
    }
    wrong = co_check_entries(c);
    if (wrong <= 0 || !may_repair(c)) {
        return wrong < 0 ? wrong : 0;
    }
    ret = co_qcow2_check_write(c, QCOW2_AREA_ACTIVE_L2, offset, c->table, c->s->cluster_size);
    if (ret < 0) {
        return qcow2_check_failed(c, ret, "writing an L2 table", offset);
    }
    c->result->corruptions -= wrong;
    c->result->corruptions_fixed += wrong;
    return 0;
}

static int co_check_l1_flag(Qcow2Checker *c, uint32_t i, uint64_t entry)
{
    uint64_t right = entry ^ QCOW2_COPIED, word = GUINT64_TO_BE(right);
    bool repair = may_repair(c);
    int ret;

    if (!co_is_wrong(c, entry, false)) {
        return 0;
    }
    qcow2_check_corruption(c, "the flag COPIED of L1 entry %u, %#" PRIx64 ", is wrong", i, entry);
    if (!repair) {
        return 0;
    }
    ret = co_qcow2_check_write(c, QCOW2_AREA_ACTIVE_L1, c->s->header.l1_offset + (int64_t)i * 8,
                               &word, sizeof(word));
    if (ret < 0) {
        return qcow2_check_failed(c, ret, "writing an L1 entry", c->s->header.l1_offset);
    }
    c->s->l1[i] = right;
    c->result->corruptions--;
    c->result->corruptions_fixed++;
    return 0;
}

int co_qcow2_check_copied(Qcow2Checker *c)
{
    int ret = 0;

    for (uint32_t i = 0; i < c->s->header.l1_size && ret == 0; i++) {
        uint64_t entry = c->s->l1[i];

        if (!(entry & QCOW2_OFFSET_MASK)) {
            continue;
        }
        ret = co_qcow2_check_work(c, c->s->cluster_size);
        ret = ret < 0 ? ret : co_check_l1_flag(c, i, entry);
        ret = ret < 0 ? ret : co_check_table(c, entry & QCOW2_OFFSET_MASK);
    }
    return ret;
}
