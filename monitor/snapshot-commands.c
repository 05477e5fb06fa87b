/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The QMP commands of external snapshots, and of the names of backing files. */
#include "block/child.h"
#include "block/control.h"
#include "block/drain.h"
#include "block/driver.h"
#include "block/graph.h"
#include "block/jobs/block-job.h"
#include "monitor/transaction.h"
#include "qmp-schema/qmp-commands.h"
#include "util/error.h"

bool qmp_blockdev_snapshot(const BlockdevSnapshot *args, GError **errp)
{
    return co_transaction_one(&snapshot_action, args, errp);
}

bool qmp_blockdev_snapshot_sync(const BlockdevSnapshotSync *args, GError **errp)
{
    return co_transaction_one(&snapshot_sync_action, args, errp);
}

/* --- change-backing-file --- */

static bool is_root(const BlockNode *node)
{
    for (guint i = 0; i < node->parents->len; i++) {
        if (((const BlockChild *)node->parents->pdata[i])->parent) {
            return false;
        }
    }
    return true;
}

/* Is @image a layer of the chain of @top? */
static bool chain_contains(BlockNode *top, const BlockNode *image)
{
    for (BlockNode *layer = top; layer; layer = block_node_backing(layer)) {
        if (layer == image || block_node_skip_filters(layer) == image) {
            return true;
        }
    }
    return false;
}

static bool check_image(BlockNode *root, BlockNode *image, const ChangeBackingFileArgs *args,
                        GError **errp)
{
    if (!block_node_backing(image)) {
        return tm_error_set(errp, "not allowing backing file change on an image without a backing "
                                  "file");
    }
    if (!block_job_check_node_free(root, errp)) {
        return false;
    }
    if (!chain_contains(root, image)) {
        return tm_error_set(errp, "'%s' and image file are not in the same chain", args->device);
    }
    /* QEMU makes it writable for a moment; here the rights that others have are not touched. */
    if (image->options.read_only) {
        return tm_error_set(errp, "Block node is read-only");
    }
    return true;
}

/*
 * The format in the header is that of the backing file in use.  (QEMU writes the image's own there,
 * so that an image on a raw one cannot be opened any more.)
 */
static bool co_change(BlockNode *image, const char *name, GError **errp)
{
    const BlockImageOps *ops = image->driver->image;
    const char *format =
        BlockdevDriver_name(block_node_skip_filters(block_node_backing(image))->driver->id);
    BlockDrain *drain;
    int ret = -ENOTSUP;

    if (ops && ops->co_set_backing_name) {
        drain = co_block_drain_begin(image);
        co_move(image->loop);
        ret = ops->co_set_backing_name(image, name, format);
        co_move(control_loop());
        co_block_drain_end(drain);
    }
    return ret == 0 ||
           tm_error_set_errno(errp, -ret, "Could not change backing file to '%s'", name);
}

static bool co_change_backing_file(const ChangeBackingFileArgs *args, GError **errp)
{
    BlockNode *root = block_node_lookup(args->device, errp), *image;

    if (!root) {
        return false;
    }
    if (!is_root(root)) {
        return tm_error_set(errp, "Need a root block node");
    }
    image = block_node_find(args->image_node_name);
    if (!image) {
        return tm_error_set(errp, "Cannot find device='' nor node-name='%s'",
                            args->image_node_name);
    }
    return check_image(root, image, args, errp) && co_change(image, args->backing_file, errp);
}

bool qmp_change_backing_file(const ChangeBackingFileArgs *args, GError **errp)
{
    bool ok;

    co_control_lock();
    ok = co_change_backing_file(args, errp);
    control_unlock();
    return ok;
}
