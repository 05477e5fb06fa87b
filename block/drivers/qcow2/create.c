/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing a new, empty image into a node.
 *
 * The tables are written first, and flushed; the header comes last, so that what is there half-way
 * is no image.  What was in the file is thrown away before (a device keeps its old bytes where
 * nothing refers to them).  An image that is to be preallocated is made with size 0, opened, and
 * grown like any other.
 */
#include "block/drivers/qcow2/create.h"

#include <errno.h>
#include <string.h>

#include "block/control.h"
#include "util/big-endian.h"
#include "block/drivers/qcow2/create-options.h"
#include "block/drivers/qcow2/refcount.h"
#include "block/work.h"
#include "util/error.h"

typedef struct Create {
    const BlockdevCreateOptionsQcow2 *options;
    Qcow2Plan plan;
    BlockNode *file, *data_file; /* references */
} Create;

/* --- the empty image --- */

/* The table from its start on, and behind it the blocks. */
static void fill_refcounts(const Qcow2Header *h, const Qcow2Layout *layout, uint8_t *buf)
{
    int64_t cluster = INT64_C(1) << h->cluster_bits;
    int64_t per_block = cluster * 8 >> h->refcount_order;
    uint8_t *blocks = buf + layout->refblock_offset - h->refcount_table_offset;

    for (int64_t i = 0; i < layout->refblocks; i++) {
        put_be64(buf + i * 8, layout->refblock_offset + i * cluster);
    }
    for (int64_t i = 0; i < layout->clusters; i++) {
        qcow2_refcount_set_entry(blocks + i / per_block * cluster, 1u << h->refcount_order,
                                 i % per_block, 1);
    }
}

static int co_write_refcounts(BlockChild *file, const Qcow2Header *h, const Qcow2Layout *layout)
{
    int64_t len = (h->refcount_table_clusters + layout->refblocks) << h->cluster_bits;
    g_autofree uint8_t *buf = g_try_malloc0(len);

    if (!buf) {
        return -ENOMEM;
    }
    fill_refcounts(h, layout, buf);
    return co_block_write_buf(file, h->refcount_table_offset, buf, len, 0);
}

static int co_write_tables(BlockChild *file, const Qcow2Header *h, const Qcow2Layout *layout)
{
    int64_t end = layout->clusters << h->cluster_bits;
    int ret = co_write_refcounts(file, h, layout);

    if (ret == 0 && h->l1_size) {
        ret = co_block_write_zeroes(file, h->l1_offset, end - h->l1_offset, 0);
    }
    return ret < 0 ? ret : co_block_flush(file);
}

static bool co_write_first_cluster(BlockChild *file, const Create *c, GError **errp)
{
    const Qcow2Header *h = &c->plan.header;
    size_t len = (size_t)1 << h->cluster_bits;
    g_autofree uint8_t *buf = g_try_malloc(len);
    int ret = -ENOMEM;

    if (buf) {
        if (!qcow2_header_encode(h, buf, len, NULL)) {
            return tm_error_set(errp, "Could not assign backing file '%s' with format '%s': %s",
                                h->backing_name ? h->backing_name : "",
                                h->backing_format ? h->backing_format : "(null)",
                                g_strerror(ENOSPC));
        }
        ret = co_block_write_buf(file, 0, buf, len, BLOCK_FUA);
    }
    return ret == 0 || tm_error_set_errno(errp, -ret, "Could not write qcow2 header");
}

/* Throws away what the file holds, so that nothing of it shows in preallocated clusters. */
static bool co_empty_file(BlockChild *file, int64_t bytes, GError **errp)
{
    co_block_truncate(file, 0, false, PREALLOC_MODE_OFF, NULL);
    return file->node->size >= bytes ||
           co_block_truncate(file, bytes, false, PREALLOC_MODE_OFF, errp);
}

static bool co_write_image(BlockChild *file, Create *c, GError **errp)
{
    int64_t size = c->plan.prealloc == PREALLOC_MODE_OFF ? c->plan.size : 0;
    Qcow2Header *h = &c->plan.header;
    Qcow2Layout layout;
    int ret;

    if (!qcow2_plan_layout(h, size, &layout, errp) ||
        !co_empty_file(file, layout.clusters << h->cluster_bits, errp)) {
        return false;
    }
    ret = co_write_tables(file, h, &layout);
    return ret < 0 ? tm_error_set_errno(errp, -ret, "Could not write refcount structures")
                   : co_write_first_cluster(file, c, errp);
}

/* --- with nodes --- */

/* The node that a reference names or describes; the caller's reference. */
static BlockNode *co_open_ref(const BlockdevRef *ref, GError **errp)
{
    BlockNode *node;

    if (ref->kind == BLOCKDEV_REF_KIND_DEFINITION) {
        return co_block_node_open(ref->u.definition, errp);
    }
    node = block_node_lookup(ref->u.reference, errp);
    return node ? block_node_ref(node) : NULL;
}

/* Loop 0, control lock held, which is given up while it writes. */
static bool co_make(Create *c, GError **errp)
{
    BlockWork *work = block_work_new();
    BlockChild *file = co_block_work_attach(work, c->file, BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE,
                                            BLOCK_PERM_ALL, errp);
    bool ok = false;

    if (file) {
        co_block_work_begin(work);
        ok = co_write_image(file, c, errp);
        co_block_work_end(work);
    }
    co_block_work_free(work);
    return ok;
}

static BlockdevRef *ref_to(const BlockNode *node)
{
    BlockdevRef *ref = g_new0(BlockdevRef, 1);

    ref->kind = BLOCKDEV_REF_KIND_REFERENCE;
    ref->u.reference = g_strdup(node->name);
    return ref;
}

static BlockNode *co_open_image(const Create *c, GError **errp)
{
    g_autoptr(BlockdevOptions) options = g_new0(BlockdevOptions, 1);
    BlockdevOptionsQcow2 *q = &options->u.qcow2;

    options->driver = BLOCKDEV_DRIVER_QCOW2;
    q->file = ref_to(c->file);
    q->data_file = c->data_file ? ref_to(c->data_file) : NULL;
    q->backing = g_new0(BlockdevRefOrNull, 1);
    q->backing->kind = BLOCKDEV_REF_OR_NULL_KIND_NULL;
    return co_block_node_open(options, errp);
}

/* A raw data file is to be as long as the disk, too; the driver sees to that. */
static bool co_grow_image(const Create *c, BlockNode *image, GError **errp)
{
    BlockWork *work = block_work_new();
    BlockChild *root = co_block_work_attach(work, image, BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE,
                                            BLOCK_PERM_ALL, errp);
    bool ok = false;

    if (root) {
        co_block_work_begin(work);
        ok = co_block_truncate(root, c->plan.size, false, c->plan.prealloc, errp);
        if (!ok) {
            g_prefix_error(errp, "Could not resize image: ");
        }
        co_block_work_end(work);
    }
    co_block_work_free(work);
    return ok;
}

static bool co_preallocate(const Create *c, GError **errp)
{
    BlockNode *image = co_open_image(c, errp);
    bool ok = image && co_grow_image(c, image, errp);

    co_block_node_unref(image);
    return ok;
}

static bool co_open_files(Create *c, GError **errp)
{
    const BlockdevCreateOptionsQcow2 *o = c->options;

    c->file = co_open_ref(o->file, errp);
    if (!c->file || !qcow2_plan_image(&c->plan, o, errp)) {
        return false;
    }
    if (!o->data_file) {
        return true;
    }
    c->data_file = co_open_ref(o->data_file, errp);
    if (!c->data_file) {
        return false;
    }
    if (c->data_file == c->file) {
        return tm_error_set(errp, "Node '%s' cannot be both the file and the data file",
                            c->file->name);
    }
    c->plan.header.data_file_name = g_strdup(c->data_file->filename);
    return true;
}

bool qcow2_co_create(const BlockdevCreateOptions *options, GError **errp)
{
    Create c = { .options = &options->u.qcow2 };
    bool ok;

    co_control_lock();
    ok = co_open_files(&c, errp) && co_make(&c, errp) &&
         (c.plan.prealloc == PREALLOC_MODE_OFF || co_preallocate(&c, errp));
    qcow2_plan_clear(&c.plan);
    co_block_node_unref(c.data_file);
    co_block_node_unref(c.file);
    control_unlock();
    return ok;
}
