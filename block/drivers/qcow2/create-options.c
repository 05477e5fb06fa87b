/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a new image is to be; see create-options.h. */
#include "block/drivers/qcow2/create-options.h"

#include <string.h>

#include "util/error.h"

#define DEFAULT_CLUSTER_SIZE 65536
#define DEFAULT_REFCOUNT_BITS 16
#define V2_LENGTH 72
#define V3_LENGTH 112
#define NEEDS_V3 "(use version=v3 or greater)"

typedef BlockdevCreateOptionsQcow2 Options;

static bool is_power_of_two(uint64_t value)
{
    return value && !(value & (value - 1));
}

static unsigned log2_of(uint64_t value)
{
    return __builtin_ctzll(value);
}

static bool is_v3(const Options *o)
{
    return !o->has_version || o->version == BLOCKDEV_QCOW2_VERSION_V3;
}

static bool has_backing(const Options *o)
{
    return o->backing_file && o->backing_file[0];
}

static bool is_raw(const Options *o)
{
    return o->has_data_file_raw && o->data_file_raw;
}

static bool is_extended(const Options *o)
{
    return o->has_extended_l2 && o->extended_l2;
}

static uint64_t cluster_size(const Options *o)
{
    return o->has_cluster_size ? o->cluster_size : DEFAULT_CLUSTER_SIZE;
}

/* --- checks --- */

static bool check_geometry(const Options *o, GError **errp)
{
    uint64_t size = cluster_size(o);

    if (o->size % 512) {
        return tm_error_set(errp, "Image size must be a multiple of 512 bytes");
    }
    if (!is_power_of_two(size) || size < 1u << QCOW2_MIN_CLUSTER_BITS ||
        size > 1u << QCOW2_MAX_CLUSTER_BITS) {
        return tm_error_set(errp, "Cluster size must be a power of two between %u and %uk",
                            1u << QCOW2_MIN_CLUSTER_BITS, (1u << QCOW2_MAX_CLUSTER_BITS) / 1024);
    }
    if (!is_extended(o)) {
        return true;
    }
    if (size < 1u << QCOW2_EXTENDED_MIN_CLUSTER_BITS) {
        return tm_error_set(errp, "Extended L2 entries are only supported with cluster sizes of at "
                            "least %u bytes", 1u << QCOW2_EXTENDED_MIN_CLUSTER_BITS);
    }
    return is_v3(o) || tm_error_set(errp, "Extended L2 entries are only supported with "
                                    "compatibility level 1.1 and above " NEEDS_V3);
}

static bool check_backing(const Options *o, GError **errp)
{
    bool prealloc = o->has_preallocation && o->preallocation != PREALLOC_MODE_OFF;

    if (has_backing(o) && prealloc && !is_extended(o)) {
        return tm_error_set(errp, "Backing file and preallocation can only be used at the same "
                            "time if extended_l2 is on");
    }
    return has_backing(o) || !o->has_backing_fmt ||
           tm_error_set(errp, "Backing format cannot be used without backing file");
}

static bool check_refcounts(const Options *o, GError **errp)
{
    int64_t bits = o->has_refcount_bits ? o->refcount_bits : DEFAULT_REFCOUNT_BITS;

    if (o->has_lazy_refcounts && o->lazy_refcounts && !is_v3(o)) {
        return tm_error_set(errp, "Lazy refcounts only supported with compatibility level 1.1 and "
                            "above " NEEDS_V3);
    }
    if (bits < 1 || bits > 64 || !is_power_of_two(bits)) {
        return tm_error_set(errp, "Refcount width must be a power of two and may not exceed 64 "
                            "bits");
    }
    return bits == DEFAULT_REFCOUNT_BITS || is_v3(o) ||
           tm_error_set(errp, "Different refcount widths than 16 bits require compatibility level "
                        "1.1 or above " NEEDS_V3);
}

static bool check_data_file(const Options *o, GError **errp)
{
    if (is_raw(o) && !o->data_file) {
        return tm_error_set(errp, "data-file-raw requires data-file");
    }
    if (is_raw(o) && has_backing(o)) {
        return tm_error_set(errp, "Backing file and data-file-raw cannot be used at the same time");
    }
    return !o->data_file || is_v3(o) ||
           tm_error_set(errp, "External data files are only supported with compatibility level 1.1 "
                        "and above " NEEDS_V3);
}

static bool is_zstd(const Options *o)
{
    return o->has_compression_type && o->compression_type == QCOW2_COMPRESSION_TYPE_ZSTD;
}

static bool check_rest(const Options *o, GError **errp)
{
    if (is_zstd(o) && !is_v3(o)) {
        return tm_error_set(errp, "Non-zlib compression type is only supported with compatibility "
                            "level 1.1 and above " NEEDS_V3);
    }
    return !o->encrypt || tm_error_set(errp, "Encrypted qcow2 images are not supported");
}

static bool check_size(const Options *o, GError **errp)
{
    if (o->size > INT64_MAX) {
        return tm_error_set(errp, "Could not resize image: Image size cannot be negative");
    }
    return o->size <= BLOCK_MAX_SIZE ||
           tm_error_set(errp, "Could not resize image: offset(%" PRIu64 ") exceeds maximum(%" PRIi64
                        ")", o->size, BLOCK_MAX_SIZE);
}

static bool check_backing_name(const Options *o, GError **errp)
{
    return !has_backing(o) || strlen(o->backing_file) <= QCOW2_MAX_BACKING_NAME ||
           tm_error_set(errp, "Could not assign backing file '%s' with format '%s': Invalid "
                        "argument", o->backing_file,
                        o->has_backing_fmt ? BlockdevDriver_name(o->backing_fmt) : "(null)");
}

/* --- the header --- */

static void set_features(Qcow2Header *h, const Options *o)
{
    h->incompatible = (o->data_file ? QCOW2_DATA_FILE : 0) |
                      (is_zstd(o) ? QCOW2_COMPRESSION_TYPE : 0) |
                      (is_extended(o) ? QCOW2_EXTENDED_L2 : 0);
    h->compatible = o->has_lazy_refcounts && o->lazy_refcounts ? QCOW2_LAZY_REFCOUNTS : 0;
    h->autoclear = is_raw(o) ? QCOW2_RAW_DATA_FILE : 0;
    h->compression = is_zstd(o) ? QCOW2_COMPRESSION_ZSTD : QCOW2_COMPRESSION_DEFLATE;
}

static void set_header(Qcow2Header *h, const Options *o)
{
    h->version = is_v3(o) ? 3 : 2;
    h->length = is_v3(o) ? V3_LENGTH : V2_LENGTH;
    h->cluster_bits = log2_of(cluster_size(o));
    h->refcount_order = log2_of(o->has_refcount_bits ? o->refcount_bits : DEFAULT_REFCOUNT_BITS);
    h->backing_name = has_backing(o) ? g_strdup(o->backing_file) : NULL;
    h->backing_format = o->has_backing_fmt ? g_strdup(BlockdevDriver_name(o->backing_fmt)) : NULL;
    set_features(h, o);
}

/* A raw data file is the disk: all of it is mapped from the start. */
static PreallocMode prealloc_mode(const Options *o)
{
    PreallocMode mode = o->has_preallocation ? o->preallocation : PREALLOC_MODE_OFF;

    return mode == PREALLOC_MODE_OFF && is_raw(o) ? PREALLOC_MODE_METADATA : mode;
}

bool qcow2_plan_image(Qcow2Plan *plan, const BlockdevCreateOptionsQcow2 *o, GError **errp)
{
    *plan = (Qcow2Plan){ 0 };
    if (!check_geometry(o, errp) || !check_backing(o, errp) || !check_refcounts(o, errp) ||
        !check_data_file(o, errp) || !check_rest(o, errp) || !check_size(o, errp) ||
        !check_backing_name(o, errp)) {
        return false;
    }
    plan->size = o->size;
    plan->prealloc = prealloc_mode(o);
    set_header(&plan->header, o);
    return true;
}

void qcow2_plan_clear(Qcow2Plan *plan)
{
    qcow2_header_clear(&plan->header);
}

/* --- the layout --- */

static int64_t div_up(int64_t value, int64_t by)
{
    return value / by + !!(value % by);
}

/* Entries of L1 for @size bytes of disk, or -1 where they are too many. */
static int64_t l1_entries(const Qcow2Header *h, int64_t size)
{
    unsigned entry_bits = h->incompatible & QCOW2_EXTENDED_L2 ? 4 : 3;
    unsigned bits = 2 * h->cluster_bits - entry_bits; /* what one L2 table covers */
    int64_t n = div_up(size, INT64_C(1) << bits);

    return n <= QCOW2_MAX_L1_BYTES / 8 ? n : -1;
}

bool qcow2_plan_layout(Qcow2Header *h, int64_t size, Qcow2Layout *layout, GError **errp)
{
    int64_t cluster = INT64_C(1) << h->cluster_bits, entries = l1_entries(h, size);
    int64_t per_block = cluster * 8 >> h->refcount_order, l1_clusters, table = 1, blocks = 1;

    if (entries < 0) {
        return tm_error_set(errp, "Could not resize image: Failed to grow the L1 table: File too "
                            "large");
    }
    l1_clusters = div_up(entries * 8, cluster);
    while ((layout->clusters = 1 + table + blocks + l1_clusters) > blocks * per_block ||
           blocks * 8 > table * cluster) {
        blocks = div_up(layout->clusters, per_block);
        table = div_up(blocks * 8, cluster);
    }
    h->size = size;
    h->refcount_table_offset = cluster;
    h->refcount_table_clusters = table;
    h->l1_size = entries;
    h->l1_offset = entries ? (1 + table + blocks) * cluster : 0;
    layout->refblock_offset = (1 + table) * cluster;
    layout->refblocks = blocks;
    return true;
}
