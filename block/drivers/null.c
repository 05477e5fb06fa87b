/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * null-co: a disk without storage.  Writes are forgotten; reads leave the buffer as it is unless
 * "read-zeroes" is set.  For measuring all that lies above a disk.
 */
#include "block/drivers/drivers.h"
#include "util/error.h"

#define NULL_DEFAULT_SIZE (INT64_C(1) << 30)

typedef struct NullState {
    int64_t size;
    int64_t latency_ns; /* of each request */
    bool read_zeroes;
} NullState;

/* What the node is called in queries: null-co:// or the options that differ. */
static char *null_filename(const BlockdevOptionsNull *o)
{
    if (!o->has_size && !o->has_read_zeroes) {
        return g_strdup("null-co://");
    }
    g_autoptr(GString) json = g_string_new("json:{");
    if (o->has_read_zeroes) {
        g_string_append_printf(json, "\"read-zeroes\": %s, ", o->read_zeroes ? "true" : "false");
    }
    g_string_append(json, "\"driver\": \"null-co\"");
    if (o->has_size) {
        g_string_append_printf(json, ", \"size\": %" PRId64, o->size);
    }
    return g_strdup_printf("%s}", json->str);
}

static bool null_co_open(BlockNode *node, const BlockdevOptions *options, GError **errp)
{
    const BlockdevOptionsNull *o = &options->u.null_co;
    NullState *s = node->state;

    /* QEMU's daemon aborts on a negative size; the words are those of its option parser. */
    if (o->has_size && o->size < 0) {
        return tm_error_set(errp, "Value '%" PRId64 "' is out of range for parameter 'size'",
                            o->size);
    }
    if (o->has_latency_ns && o->latency_ns > INT64_MAX) {
        return tm_error_set(errp, "latency-ns is invalid");
    }
    s->size = o->has_size ? o->size : NULL_DEFAULT_SIZE;
    s->latency_ns = o->has_latency_ns ? (int64_t)o->latency_ns : 0;
    s->read_zeroes = o->has_read_zeroes && o->read_zeroes;
    g_free(node->filename);
    node->filename = null_filename(o);
    return true;
}

static void co_null_delay(const NullState *s)
{
    if (s->latency_ns) {
        co_sleep_ns(s->latency_ns);
    }
}

static int null_co_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    const NullState *s = node->state;

    if (s->read_zeroes) {
        io_slice_zero(data);
    }
    co_null_delay(s);
    return 0;
}

static int null_co_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    co_null_delay(node->state);
    return 0;
}

static int null_co_flush(BlockNode *node)
{
    co_null_delay(node->state);
    return 0;
}

static int null_co_block_status(BlockNode *node, bool want_zero, int64_t offset, int64_t bytes,
                                BlockStatus *status)
{
    const NullState *s = node->state;

    *status = (BlockStatus){
        .flags = BLOCK_STATUS_OFFSET_VALID | (s->read_zeroes ? BLOCK_STATUS_ZERO : 0),
        .bytes = bytes,
        .map = offset,
        .file = node,
    };
    return 0;
}

static int64_t null_co_get_size(BlockNode *node)
{
    return block_whole_sectors(((const NullState *)node->state)->size);
}

static int64_t null_co_allocated_size(BlockNode *node)
{
    return 0;
}

static const BlockImageOps null_image_ops = {
    .co_allocated_size = null_co_allocated_size,
};

/* Only the common options change. */
static const BlockReopenOps reopen_ops = { 0 };

const BlockDriver block_driver_null_co = {
    .reopen = &reopen_ops,
    .id = BLOCKDEV_DRIVER_NULL_CO,
    .state_size = sizeof(NullState),
    .is_protocol = true,
    .co_open = null_co_open,
    .co_read = null_co_read,
    .co_write = null_co_write,
    .co_flush = null_co_flush,
    .co_block_status = null_co_block_status,
    .co_get_size = null_co_get_size,
    .supports_write_flags = BLOCK_FUA,
    .image = &null_image_ops,
};
