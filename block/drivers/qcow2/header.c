/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading the image header; see header.h.
 *
 * The image may be a stranger's: every number is checked here, before it is used and before memory
 * is taken by it.  The fields come first, then the extensions up to the backing file's name (or the
 * end of the cluster), then the features, whose names may stand in an extension.
 */
#include "block/drivers/qcow2/header.h"

#include "util/big-endian.h"
#include "util/error.h"
#include "util/range.h"

#define V2_LENGTH 72
#define V3_LENGTH 104
#define SNAPSHOT_ENTRY_MIN 40
#define FEATURE_ENTRY 48
#define FEATURE_NAME 46
#define MAX_FORMAT_NAME 15

/* What is needed only while the header is being read. */
typedef struct Decoder {
    Qcow2Header *h;
    const uint8_t *buf;
    size_t cluster_size;
    const uint8_t *features; /* the feature name table, or NULL */
    size_t features_len;
    uint64_t backing_offset;
    uint32_t backing_len;
} Decoder;

void qcow2_header_clear(Qcow2Header *header)
{
    for (guint i = 0; header->unknown && i < header->unknown->len; i++) {
        g_free(g_array_index(header->unknown, Qcow2Extension, i).data);
    }
    if (header->unknown) {
        g_array_free(header->unknown, true);
    }
    g_free(header->more_fields);
    g_free(header->backing_name);
    g_free(header->backing_format);
    g_free(header->data_file_name);
    *header = (Qcow2Header){ 0 };
}

size_t qcow2_header_probe(const uint8_t *buf, GError **errp)
{
    uint32_t version = get_be32(buf + 4), cluster_bits = get_be32(buf + 20);

    if (get_be32(buf) != QCOW2_MAGIC) {
        tm_error_set(errp, "Image is not in qcow2 format");
        return 0;
    }
    if (version < 2 || version > 3) {
        tm_error_set(errp, "Unsupported qcow2 version %u", version);
        return 0;
    }
    if (cluster_bits < QCOW2_MIN_CLUSTER_BITS || cluster_bits > QCOW2_MAX_CLUSTER_BITS) {
        tm_error_set(errp, "Unsupported cluster size: 2^%u", cluster_bits);
        return 0;
    }
    return (size_t)1 << cluster_bits;
}

/* --- the fixed fields --------------------------------------------------------------------- */

static void read_v2_fields(Decoder *d)
{
    Qcow2Header *h = d->h;
    const uint8_t *buf = d->buf;

    h->version = get_be32(buf + 4);
    d->backing_offset = get_be64(buf + 8);
    d->backing_len = get_be32(buf + 16);
    h->cluster_bits = get_be32(buf + 20);
    h->size = get_be64(buf + 24);
    h->crypt_method = get_be32(buf + 32);
    h->l1_size = get_be32(buf + 36);
    h->l1_offset = get_be64(buf + 40);
    h->refcount_table_offset = get_be64(buf + 48);
    h->refcount_table_clusters = get_be32(buf + 56);
    h->snapshots = get_be32(buf + 60);
    h->snapshots_offset = get_be64(buf + 64);
    h->refcount_order = 4;
    h->length = V2_LENGTH;
}

static bool read_v3_fields(Decoder *d, GError **errp)
{
    Qcow2Header *h = d->h;
    const uint8_t *buf = d->buf;

    h->incompatible = get_be64(buf + 72);
    h->compatible = get_be64(buf + 80);
    h->autoclear = get_be64(buf + 88);
    h->refcount_order = get_be32(buf + 96);
    h->length = get_be32(buf + 100);
    if (h->length < V3_LENGTH) {
        return tm_error_set(errp, "qcow2 header too short");
    }
    if (h->length > d->cluster_size) {
        return tm_error_set(errp, "qcow2 header exceeds cluster size");
    }
    if (h->length > V3_LENGTH) {
        h->compression = buf[V3_LENGTH];
    }
    if (h->length > QCOW2_HEADER_PROBE) {
        h->more_fields = g_memdup2(buf + QCOW2_HEADER_PROBE, h->length - QCOW2_HEADER_PROBE);
    }
    return true;
}

/* --- extensions --------------------------------------------------------------------------- */

static bool read_backing_format(Decoder *d, const uint8_t *data, uint32_t len, GError **errp)
{
    if (len > MAX_FORMAT_NAME) {
        return tm_error_set(errp, "ERROR: ext_backing_format: len=%u too large (>=%d)", len,
                            MAX_FORMAT_NAME + 1);
    }
    g_free(d->h->backing_format);
    d->h->backing_format = g_strndup((const char *)data, len);
    return true;
}

static void keep_unknown(Decoder *d, uint32_t type, const uint8_t *data, uint32_t len)
{
    Qcow2Extension ext = { type, len, g_memdup2(data, len) };

    if (!d->h->unknown) {
        d->h->unknown = g_array_new(false, false, sizeof(Qcow2Extension));
    }
    g_array_append_val(d->h->unknown, ext);
}

/* NULL, or what is wrong with the bitmaps extension. */
static const char *bitmaps_fault(const Decoder *d, const uint8_t *data, uint32_t len)
{
    uint64_t size, offset;

    if (len != 24) {
        return "Invalid extension length";
    }
    size = get_be64(data + 8);
    offset = get_be64(data + 16);
    if (get_be32(data + 4) != 0) {
        return "Reserved field is not zero";
    }
    if (get_be32(data) > QCOW2_MAX_BITMAPS) {
        return "Image has too many bitmaps";
    }
    if (get_be32(data) == 0) {
        return "found bitmaps extension with zero bitmaps";
    }
    if (offset == 0 || offset % d->cluster_size || offset > INT64_MAX) {
        return "invalid bitmap directory offset";
    }
    return size > QCOW2_MAX_BITMAP_DIRECTORY_BYTES ? "bitmap directory too large" : NULL;
}

/* Never an error: without its bitmaps the disk still works. */
static void read_bitmaps(Decoder *d, const uint8_t *data, uint32_t len)
{
    const char *fault = bitmaps_fault(d, data, len);

    if (fault) {
        g_warning("bitmaps_ext: %s; the bitmaps of this image cannot be used", fault);
        keep_unknown(d, QCOW2_EXT_BITMAPS, data, len);
    } else if (!(d->h->autoclear & QCOW2_BITMAPS)) {
        g_warning("a program lacking bitmap support modified this file, so all bitmaps are now "
                  "considered inconsistent");
    } else {
        d->h->bitmaps = (Qcow2BitmapsExt){
            .count = get_be32(data),
            .directory_size = get_be64(data + 8),
            .directory_offset = get_be64(data + 16),
        };
    }
}

static bool read_extension(Decoder *d, uint32_t type, const uint8_t *data, uint32_t len,
                           GError **errp)
{
    switch (type) {
    case QCOW2_EXT_BACKING_FORMAT:
        return read_backing_format(d, data, len, errp);
    case QCOW2_EXT_FEATURE_NAMES:
        d->features = data;
        d->features_len = len;
        return true;
    case QCOW2_EXT_BITMAPS:
        read_bitmaps(d, data, len);
        return true;
    case QCOW2_EXT_CRYPTO:
        return tm_error_set(errp, "CRYPTO header extension: encrypted images are not supported");
    case QCOW2_EXT_DATA_FILE:
        g_free(d->h->data_file_name);
        d->h->data_file_name = g_strndup((const char *)data, len);
        return true;
    default:
        keep_unknown(d, type, data, len);
        return true;
    }
}

static bool read_extensions(Decoder *d, GError **errp)
{
    size_t end = d->backing_offset ? d->backing_offset : d->cluster_size;
    size_t at = d->h->length;

    while (at < end) {
        uint32_t type, len;

        if (end - at < 8) {
            return tm_error_set(errp, "Header extension too large");
        }
        type = get_be32(d->buf + at);
        len = get_be32(d->buf + at + 4);
        at += 8;
        if (type == QCOW2_EXT_END) {
            return true;
        }
        if (len > end - at) {
            return tm_error_set(errp, "Header extension too large");
        }
        if (!read_extension(d, type, d->buf + at, len, errp)) {
            return false;
        }
        at += MIN(align_up(len, 8), (int64_t)(end - at));
    }
    return true;
}

/* --- checks ------------------------------------------------------------------------------- */

static char *feature_name(const Decoder *d, unsigned bit)
{
    for (size_t at = 0; at + FEATURE_ENTRY <= d->features_len; at += FEATURE_ENTRY) {
        const uint8_t *entry = d->features + at;

        if (entry[0] == 0 && entry[1] == bit) {
            return g_strndup((const char *)entry + 2, FEATURE_NAME);
        }
    }
    return NULL;
}

static bool check_features(const Decoder *d, GError **errp)
{
    uint64_t unknown = d->h->incompatible & ~QCOW2_INCOMPATIBLE_KNOWN;
    g_autoptr(GString) names = g_string_new(NULL);

    if (!unknown) {
        return true;
    }
    for (unsigned bit = 0; bit < 64; bit++) {
        g_autofree char *name = unknown & (UINT64_C(1) << bit) ? feature_name(d, bit) : NULL;

        if (name) {
            g_string_append_printf(names, "%s%s", names->len ? ", " : "", name);
            unknown &= ~(UINT64_C(1) << bit);
        }
    }
    if (unknown) {
        g_string_append_printf(names, "%sUnknown incompatible feature: %" PRIx64,
                               names->len ? ", " : "", unknown);
    }
    return tm_error_set(errp, "Unsupported qcow2 feature(s): %s", names->str);
}

static bool check_compression(const Qcow2Header *h, GError **errp)
{
    bool bit = h->incompatible & QCOW2_COMPRESSION_TYPE;

    if (h->compression > QCOW2_COMPRESSION_ZSTD) {
        return tm_error_set(errp, "qcow2: unknown compression type: %u", h->compression);
    }
    if (h->compression == QCOW2_COMPRESSION_DEFLATE && bit) {
        return tm_error_set(errp, "qcow2: Compression type incompatible feature bit must not be "
                                  "set");
    }
    if (h->compression != QCOW2_COMPRESSION_DEFLATE && !bit) {
        return tm_error_set(errp, "qcow2: Compression type incompatible feature bit must be set");
    }
    return true;
}

static bool check_kind(const Qcow2Header *h, GError **errp)
{
    static const char *const methods[] = { "none", "AES", "LUKS" };

    if (h->crypt_method >= G_N_ELEMENTS(methods)) {
        return tm_error_set(errp, "Unsupported encryption method %d", h->crypt_method);
    }
    if (h->crypt_method) {
        return tm_error_set(errp, "Encrypted qcow2 images are not supported (the image is "
                                  "encrypted with %s)", methods[h->crypt_method]);
    }
    if (h->refcount_order > 6) {
        return tm_error_set(errp, "Reference count entry width too large; may not exceed 64 bits");
    }
    if ((h->incompatible & QCOW2_EXTENDED_L2) &&
        h->cluster_bits < QCOW2_EXTENDED_MIN_CLUSTER_BITS) {
        return tm_error_set(errp, "Unsupported subcluster size: %d", 1 << h->cluster_bits >> 5);
    }
    if ((h->autoclear & QCOW2_RAW_DATA_FILE) && !(h->incompatible & QCOW2_DATA_FILE)) {
        return tm_error_set(errp, "data-file-raw requires a data file");
    }
    return check_compression(h, errp);
}

static bool check_table(const Qcow2Header *h, const char *name, int64_t offset, int64_t entries,
                        int64_t entry_size, int64_t max_bytes, GError **errp)
{
    int64_t cluster_size = INT64_C(1) << h->cluster_bits;

    if (entries > max_bytes / entry_size) {
        return tm_error_set(errp, "%s too large", name);
    }
    if (!range_valid(offset, align_up(entries * entry_size, cluster_size), INT64_MAX) ||
        !is_aligned(offset, cluster_size)) {
        return tm_error_set(errp, "%s offset invalid", name);
    }
    return true;
}

uint64_t qcow2_l1_entries(int64_t size, unsigned cluster_bits, bool extended_l2)
{
    unsigned shift = cluster_bits + cluster_bits - (extended_l2 ? 4 : 3);

    return ((uint64_t)size + (UINT64_C(1) << shift) - 1) >> shift;
}

static bool check_tables(const Qcow2Header *h, GError **errp)
{
    uint64_t needed;

    if (h->refcount_table_clusters == 0 || h->refcount_table_offset == 0) {
        return tm_error_set(errp, "Image does not contain a reference count table");
    }
    if (!check_table(h, "Reference count table", h->refcount_table_offset,
                     h->refcount_table_clusters, INT64_C(1) << h->cluster_bits,
                     QCOW2_MAX_REFCOUNT_TABLE_BYTES, errp) ||
        !check_table(h, "Snapshot table", h->snapshots_offset, h->snapshots, SNAPSHOT_ENTRY_MIN,
                     SNAPSHOT_ENTRY_MIN * (int64_t)QCOW2_MAX_SNAPSHOTS, errp) ||
        !check_table(h, "Active L1 table", h->l1_offset, h->l1_size, sizeof(uint64_t),
                     QCOW2_MAX_L1_BYTES, errp)) {
        return false;
    }
    if (h->size < 0 || h->size > BLOCK_MAX_SIZE) {
        return tm_error_set(errp, "Image is too big");
    }
    needed = qcow2_l1_entries(h->size, h->cluster_bits, h->incompatible & QCOW2_EXTENDED_L2);
    if (needed > INT32_MAX) {
        return tm_error_set(errp, "Image is too big");
    }
    if (h->l1_size < needed) {
        return tm_error_set(errp, "L1 table is too small");
    }
    return true;
}

static bool read_backing_name(Decoder *d, GError **errp)
{
    if (d->backing_offset == 0) {
        return true;
    }
    if (d->backing_len > QCOW2_MAX_BACKING_NAME ||
        d->backing_len > d->cluster_size - d->backing_offset) {
        return tm_error_set(errp, "Backing file name too long");
    }
    d->h->backing_name = g_strndup((const char *)d->buf + d->backing_offset, d->backing_len);
    return true;
}

static bool decode(Decoder *d, GError **errp)
{
    read_v2_fields(d);
    if (d->h->version >= 3 && !read_v3_fields(d, errp)) {
        return false;
    }
    if (d->backing_offset > d->cluster_size ||
        (d->backing_offset && d->backing_offset < d->h->length)) {
        return tm_error_set(errp, "Invalid backing file offset");
    }
    /* Features before extensions, but for the names. */
    if (d->h->incompatible & ~QCOW2_INCOMPATIBLE_KNOWN) {
        (void)read_extensions(d, NULL);
        return check_features(d, errp);
    }
    return check_kind(d->h, errp) && check_tables(d->h, errp) && read_extensions(d, errp) &&
           read_backing_name(d, errp);
}

bool qcow2_header_decode(Qcow2Header *header, const uint8_t *buf, GError **errp)
{
    Decoder d = { .h = header, .buf = buf };

    *header = (Qcow2Header){ 0 };
    d.cluster_size = qcow2_header_probe(buf, errp);
    if (d.cluster_size == 0) {
        return false;
    }
    if (!decode(&d, errp)) {
        qcow2_header_clear(header);
        return false;
    }
    return true;
}
