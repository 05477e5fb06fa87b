/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The driver's options; see options.h.  The rules of the cache sizes are QEMU's
 * (docs/qcow2-cache.txt there): at most what covers the whole disk, and defaults that cover most
 * disks.
 */
#include "block/drivers/qcow2/options.h"

#include "block/drivers/qcow2/overlap.h"
#include "util/error.h"
#include "util/range.h"

#define DEFAULT_L2_CACHE (INT64_C(32) << 20)
#define DEFAULT_CLEAN_INTERVAL 600
#define SMALL_L2_ENTRY 4096
#define MIN_L2_ENTRIES 2
#define MIN_REFCOUNT_ENTRIES 4
/* More refcount blocks than that no image has. */
#define MAX_REFCOUNT_ENTRIES (QCOW2_MAX_REFCOUNT_TABLE_BYTES / 8)

typedef struct CacheSizes {
    int64_t l2, l2_entry, refcount;
} CacheSizes;

static bool check_combined(const BlockdevOptionsQcow2 *o, GError **errp)
{
    if (o->has_l2_cache_size && o->has_refcount_cache_size) {
        return tm_error_set(errp, "cache-size, l2-cache-size and refcount-cache-size may not be "
                                  "set at the same time");
    }
    if (o->has_l2_cache_size && o->l2_cache_size > o->cache_size) {
        return tm_error_set(errp, "l2-cache-size may not exceed cache-size");
    }
    if (o->has_refcount_cache_size && o->refcount_cache_size > o->cache_size) {
        return tm_error_set(errp, "refcount-cache-size may not exceed cache-size");
    }
    return true;
}

/* Shares out cache-size: to the L2 tables first. */
static void split_combined(const BlockdevOptionsQcow2 *o, int64_t max_l2, int64_t min_refcount,
                           CacheSizes *sizes)
{
    if (o->has_l2_cache_size) {
        sizes->refcount = o->cache_size - o->l2_cache_size;
    } else if (o->has_refcount_cache_size) {
        sizes->l2 = o->cache_size - o->refcount_cache_size;
    } else if (o->cache_size >= max_l2 && o->cache_size - max_l2 >= min_refcount) {
        sizes->l2 = max_l2;
        sizes->refcount = o->cache_size - max_l2;
    } else {
        sizes->refcount = MIN(o->cache_size, min_refcount);
        sizes->l2 = o->cache_size - sizes->refcount;
    }
}

static bool check_range(const char *name, bool has, int64_t value, GError **errp)
{
    return !has || value >= 0 ||
           tm_error_set(errp, "Parameter '%s' expects a size that is not negative", name);
}

static bool read_sizes(const Qcow2State *s, const BlockdevOptionsQcow2 *o, CacheSizes *sizes,
                       GError **errp)
{
    int64_t tables = units_covering(s->header.size, s->cluster_size);
    int64_t max_l2 = align_up(tables << s->l2_entry_bits, s->cluster_size);
    int64_t min_refcount = MIN_REFCOUNT_ENTRIES * s->cluster_size;

    if (!check_range("cache-size", o->has_cache_size, o->cache_size, errp) ||
        !check_range("l2-cache-size", o->has_l2_cache_size, o->l2_cache_size, errp) ||
        !check_range("refcount-cache-size", o->has_refcount_cache_size, o->refcount_cache_size,
                     errp) ||
        (o->has_cache_size && !check_combined(o, errp))) {
        return false;
    }
    sizes->l2 = o->has_l2_cache_size ? o->l2_cache_size : DEFAULT_L2_CACHE;
    sizes->refcount = o->has_refcount_cache_size ? o->refcount_cache_size : min_refcount;
    if (o->has_cache_size) {
        split_combined(o, max_l2, min_refcount, sizes);
    }
    sizes->l2 = MIN(sizes->l2, max_l2);
    if (o->has_l2_cache_entry_size) {
        sizes->l2_entry = o->l2_cache_entry_size;
    } else {
        sizes->l2_entry = sizes->l2 < max_l2 ? MIN(s->cluster_size, SMALL_L2_ENTRY)
                                             : s->cluster_size;
    }
    if (sizes->l2_entry < 512 || sizes->l2_entry > s->cluster_size ||
        !is_power_of_two(sizes->l2_entry)) {
        return tm_error_set(errp, "L2 cache entry size must be a power of two between %d and the "
                                  "cluster size (%d)", 512, (int)s->cluster_size);
    }
    return true;
}

static bool make_caches(BlockNode *node, const BlockdevOptionsQcow2 *o, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    CacheSizes sizes;
    int64_t l2_entries, refcount_entries;

    if (!read_sizes(s, o, &sizes, errp)) {
        return false;
    }
    l2_entries = MAX(sizes.l2 / sizes.l2_entry, MIN_L2_ENTRIES);
    refcount_entries = CLAMP(sizes.refcount / s->cluster_size, MIN_REFCOUNT_ENTRIES,
                             MAX_REFCOUNT_ENTRIES);
    if (l2_entries > INT32_MAX) {
        return tm_error_set(errp, "L2 cache size too big");
    }
    s->slice_bits = __builtin_ctzll(sizes.l2_entry) - s->l2_entry_bits;
    s->l2_cache = qcow2_cache_new(node, QCOW2_AREA_ACTIVE_L2, l2_entries, sizes.l2_entry);
    s->refcount_cache = qcow2_cache_new(node, QCOW2_AREA_REFCOUNT_BLOCK, refcount_entries,
                                        s->cluster_size);
    return true;
}

static bool check_against_image(const Qcow2State *s, const BlockdevOptionsQcow2 *o, GError **errp)
{
    if (o->encrypt) {
        return tm_error_set(errp, "No encryption in image header, but options specified format "
                                  "'%s'", BlockdevQcow2EncryptionFormat_name(o->encrypt->format));
    }
    if (s->header.version < 3 && o->has_lazy_refcounts && o->lazy_refcounts) {
        return tm_error_set(errp, "Lazy refcounts require a qcow2 image with at least qemu 1.1 "
                                  "compatibility level");
    }
    if (s->header.version < 3 && o->has_discard_no_unref && o->discard_no_unref) {
        return tm_error_set(errp, "discard-no-unref is only supported since qcow2 version 3");
    }
    if (o->has_cache_clean_interval &&
        (o->cache_clean_interval < 0 || o->cache_clean_interval > UINT32_MAX)) {
        return tm_error_set(errp, "Cache clean interval too big");
    }
    return true;
}

bool qcow2_options_apply(BlockNode *node, const BlockdevOptionsQcow2 *o, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    bool *pass = s->discard_passthrough;

    if (!check_against_image(s, o, errp)) {
        return false;
    }
    s->lazy_refcounts = o->has_lazy_refcounts
                            ? o->lazy_refcounts
                            : (s->header.compatible & QCOW2_LAZY_REFCOUNTS) != 0;
    pass[QCOW2_DISCARD_ALWAYS] = true;
    pass[QCOW2_DISCARD_REQUEST] = o->has_pass_discard_request ? o->pass_discard_request
                                                              : node->options.discard_unmap;
    pass[QCOW2_DISCARD_SNAPSHOT] = !o->has_pass_discard_snapshot || o->pass_discard_snapshot;
    pass[QCOW2_DISCARD_OTHER] = o->has_pass_discard_other && o->pass_discard_other;
    s->discard_no_unref = o->has_discard_no_unref && o->discard_no_unref;
    s->overlap_checks = qcow2_overlap_option(o->overlap_check);
    s->cache_clean_interval = o->has_cache_clean_interval ? o->cache_clean_interval
                                                          : DEFAULT_CLEAN_INTERVAL;
    return make_caches(node, o, errp);
}
