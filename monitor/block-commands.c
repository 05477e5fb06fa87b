/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The QMP commands of block nodes. */
#include <stdatomic.h>

#include "block/control.h"
#include "block/export.h"
#include "block/info.h"
#include "block/jobs/block-job.h"
#include "block/node-io.h"
#include "qmp-schema/qmp-commands.h"
#include "util/error.h"

/* How often a node that is to be removed is asked whether it has settled. */
#define SETTLING_NS (INT64_C(10) * 1000000)

/* --- adding and removing --- */

bool qmp_blockdev_add(const BlockdevOptions *args, GError **errp)
{
    BlockNode *node;

    if (!args->node_name) {
        return tm_error_set(errp, "'node-name' must be specified for the root node");
    }
    co_control_lock();
    node = co_block_node_open(args, errp);
    if (node) {
        node->by_user = true; /* and has the reference */
    }
    control_unlock();
    return node != NULL;
}

/* An export, say: a user that is no job. */
static bool has_device(const BlockNode *node)
{
    for (guint i = 0; i < node->parents->len; i++) {
        BlockChild *edge = node->parents->pdata[i];

        if (edge->user && !block_job_owns_edge(edge, NULL)) {
            return true;
        }
    }
    return false;
}

/* In QEMU's order, which decides what is said about a node in several uses. */
static bool check_deletable(const BlockNode *node, GError **errp)
{
    if (has_device(node)) {
        return tm_error_set(errp, "Node %s is in use", node->name);
    }
    if (!block_job_check_node_unused(node, errp)) {
        return false;
    }
    if (!node->by_user) {
        return tm_error_set(errp, "Node %s is not owned by the monitor", node->name);
    }
    if (node->parents->len) {
        return tm_error_set(errp, "Block device %s is in use", node->name);
    }
    return true;
}

static BlockNode *find_deletable(const char *name, GError **errp)
{
    BlockNode *node = block_node_find(name);

    if (!node) {
        tm_error_set(errp, "Failed to find node with node-name='%s'", name);
        return NULL;
    }
    return check_deletable(node, errp) ? node : NULL;
}

static bool co_settle(BlockNode *node)
{
    bool settled;

    if (!node->driver->settle) {
        return true;
    }
    co_move(node->loop);
    settled = node->driver->settle(node);
    co_move(control_loop());
    return settled;
}

/*
 * A node that still puts something away is given the time, without the lock: nobody else waits for
 * a slow scratch.  Anything may happen to it meanwhile, so that it is looked for again each time.
 */
static BlockNode *co_find_settled(const char *name, GError **errp)
{
    BlockNode *node = find_deletable(name, errp);

    while (node && !co_settle(node) && !control_stopping()) {
        control_unlock();
        co_sleep_ns(SETTLING_NS);
        co_control_lock();
        node = find_deletable(name, errp);
    }
    return node;
}

bool qmp_blockdev_del(const BlockdevDelArgs *args, GError **errp)
{
    BlockNode *node;

    co_control_lock();
    node = co_find_settled(args->node_name, errp);
    if (node) {
        node->by_user = false;
        co_block_node_unref(node);
    }
    control_unlock();
    return node != NULL;
}

/* --- its writes --- */

bool qmp_block_set_write_threshold(const BlockSetWriteThresholdArgs *args, GError **errp)
{
    BlockNode *node = block_node_find(args->node_name);

    if (!node) {
        return tm_error_set(errp, "Device '%s' not found", args->node_name);
    }
    atomic_store(&node->write_threshold, args->write_threshold);
    return true;
}

/* --- resizing --- */

static void drain_nothing(void *opaque)
{
}

static bool never_busy(void *opaque)
{
    return false;
}

static char *describe_nobody(void *opaque)
{
    return g_strdup("an unnamed block device");
}

/* Holds the right to resize while the command runs. */
static const BlockUserOps resizer_ops = {
    .drained_begin = drain_nothing,
    .drained_poll = never_busy,
    .drained_end = drain_nothing,
    .describe = describe_nobody,
};

static bool co_resize(BlockNode *node, int64_t size, GError **errp)
{
    BlockUser *user = block_user_new(&resizer_ops, NULL);
    BlockChild *root =
        co_block_user_attach(user, node, "root", 0, BLOCK_PERM_RESIZE, BLOCK_PERM_ALL, errp);
    bool ok = false;

    if (root) {
        co_move(node->loop);
        ok = co_block_truncate(root, size, false, PREALLOC_MODE_OFF, errp);
        co_move(control_loop());
    }
    co_block_user_free(user);
    return ok;
}

static BlockNode *find_to_resize(const BlockResizeArgs *args, GError **errp)
{
    BlockNode *node = args->node_name ? block_node_find(args->node_name) : NULL;

    if (!node) {
        tm_error_set(errp, "Cannot find device='%s' nor node-name='%s'",
                     args->device ? args->device : "", args->node_name ? args->node_name : "");
        return NULL;
    }
    if (args->size < 0) {
        tm_error_set(errp, "Parameter 'size' expects a >0 size");
        return NULL;
    }
    return block_job_check_node_unused(node, errp) ? node : NULL;
}

bool qmp_block_resize(const BlockResizeArgs *args, GError **errp)
{
    BlockNode *node;
    bool ok;

    co_control_lock();
    node = find_to_resize(args, errp);
    ok = node && co_resize(node, args->size, errp);
    control_unlock();
    return ok;
}

/* --- queries: without the control lock --- */

/* The newest first, as in QEMU. */
GPtrArray *qmp_query_named_block_nodes(const QueryNamedBlockNodesArgs *args, GError **errp)
{
    GPtrArray *infos = g_ptr_array_new_with_free_func((GDestroyNotify)BlockDeviceInfo_free);
    BlockInfoSizes *sizes = block_info_sizes_new();
    const GPtrArray *nodes = block_nodes();

    for (guint i = nodes->len; i-- > 0;) {
        g_ptr_array_add(infos,
                        block_device_info(nodes->pdata[i], args->has_flat && args->flat, sizes));
    }
    co_block_info_sizes_fill(sizes);
    return infos;
}

static BlockInfo *export_as_device(const Export *export, BlockInfoSizes *sizes)
{
    BlockInfo *info = g_new0(BlockInfo, 1);

    info->device = g_strdup(export->id);
    info->type = g_strdup("unknown");
    info->inserted = block_device_info(export->child->node, false, sizes);
    return info;
}

/*
 * A writable export is a disk in use: listed by its id, for tools that look for disks and their
 * bitmaps here.  (qemu-storage-daemon lists nothing: its exports have no device names.)
 */
GPtrArray *qmp_query_block(GError **errp)
{
    GPtrArray *infos = g_ptr_array_new_with_free_func((GDestroyNotify)BlockInfo_free);
    BlockInfoSizes *sizes = block_info_sizes_new();
    const GPtrArray *exports = export_list();

    for (guint i = 0; i < exports->len; i++) {
        const Export *export = exports->pdata[i];

        if (export->writable) {
            g_ptr_array_add(infos, export_as_device(export, sizes));
        }
    }
    co_block_info_sizes_fill(sizes);
    return infos;
}
