/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * External snapshots as actions of a transaction.
 *
 * While the graph is drained the overlay is put above the node.  When all went well the node
 * becomes read-only, which stores its persistent bitmaps: they are of the instant of the snapshot.
 */
#include "block/child.h"
#include "block/control.h"
#include "block/driver.h"
#include "block/jobs/block-job.h"
#include "block/node-io.h"
#include "block/overlay.h"
#include "block/read-only.h"
#include "block/snapshot.h"
#include "monitor/transaction.h"
#include "util/error.h"

typedef struct SnapshotAction {
    Action action;
    BlockNode *node, *overlay;
    bool opened_here; /* the overlay is ours to drop */
} SnapshotAction;

static void add_node(const char *name, GPtrArray *nodes)
{
    BlockNode *node = name ? block_node_find(name) : NULL;

    if (node) {
        g_ptr_array_add(nodes, node);
    }
}

/* --- what both have in common --- */

/* What was acknowledged is in the lower image when it freezes. */
static bool co_flush_node(BlockNode *node, GError **errp)
{
    int ret;

    if (block_node_is_read_only(node)) {
        return true;
    }
    co_move(node->loop);
    ret = co_gate_flush(node);
    co_move(control_loop());
    return ret == 0 || tm_error_set(errp, "An IO error has occurred");
}

static bool co_freeze(SnapshotAction *snapshot, GError **errp)
{
    return block_job_check_node_unused(snapshot->node, errp) &&
           co_flush_node(snapshot->node, errp);
}

/* As in QEMU the snapshot stands if that fails: the node is below, and nobody writes to it. */
static void co_snapshot_commit(Action *action)
{
    BlockNode *node = ((SnapshotAction *)action)->node;
    int ret = co_block_node_make_read_only(node);

    if (ret < 0) {
        g_warning("Node '%s' stays writable below the snapshot: %s", node->name, g_strerror(-ret));
    }
}

static void co_snapshot_abort(Action *action)
{
    SnapshotAction *snapshot = (SnapshotAction *)action;

    co_block_snapshot_undo(snapshot->node, snapshot->overlay);
    if (snapshot->opened_here) {
        co_block_node_unref(snapshot->overlay);
    }
}

/* --- blockdev-snapshot --- */

static void snapshot_nodes(const void *opaque, GPtrArray *nodes)
{
    const BlockdevSnapshot *args = opaque;

    add_node(args->node, nodes);
    add_node(args->overlay, nodes);
}

static bool co_snapshot_prepare(Action *action, JobTxn *group, GError **errp)
{
    const BlockdevSnapshot *args = action->args;
    SnapshotAction *snapshot = (SnapshotAction *)action;

    snapshot->node = block_node_lookup(args->node, errp);
    if (!snapshot->node || !co_freeze(snapshot, errp)) {
        return false;
    }
    snapshot->overlay = block_node_lookup(args->overlay, errp);
    return snapshot->overlay && co_block_snapshot_append(snapshot->node, snapshot->overlay, errp);
}

const ActionOps snapshot_action = {
    .size = sizeof(SnapshotAction),
    .nodes = snapshot_nodes,
    .co_prepare = co_snapshot_prepare,
    .co_commit = co_snapshot_commit,
    .co_abort = co_snapshot_abort,
};

/* --- blockdev-snapshot-sync --- */

static void sync_nodes(const void *opaque, GPtrArray *nodes)
{
    add_node(((const BlockdevSnapshotSync *)opaque)->node_name, nodes);
}

static BlockNode *find_by_node_name(const BlockdevSnapshotSync *args, GError **errp)
{
    BlockNode *node = args->node_name ? block_node_find(args->node_name) : NULL;

    if (!node) {
        tm_error_set(errp, "Cannot find device='%s' nor node-name='%s'",
                     args->device ? args->device : "", args->node_name ? args->node_name : "");
    }
    return node;
}

static bool check_overlay_name(const BlockdevSnapshotSync *args, GError **errp)
{
    if (!args->snapshot_node_name) {
        return tm_error_set(errp, "New overlay node-name missing");
    }
    if (block_node_find(args->snapshot_node_name)) {
        return tm_error_set(errp, "New overlay node-name already in use");
    }
    return true;
}

static const char *overlay_format(const BlockdevSnapshotSync *args)
{
    return args->format ? args->format : "qcow2";
}

/*
 * The image is made before anything is drained, and so only where the snapshot may go ahead; what
 * was checked for it is checked again then.
 */
static bool co_sync_before(const void *opaque, GError **errp)
{
    const BlockdevSnapshotSync *args = opaque;
    const BlockNode *node = find_by_node_name(args, errp);

    if (!node || !block_job_check_node_unused(node, errp) || !check_overlay_name(args, errp)) {
        return false;
    }
    return (args->has_mode && args->mode == NEW_IMAGE_MODE_EXISTING) ||
           co_block_overlay_make(args->snapshot_file, overlay_format(args), node, errp);
}

/* Used as the node was (cache, discard); its backing file is put below it later. */
static BlockNode *co_open_overlay(const BlockdevSnapshotSync *args, const BlockNode *node,
                                  GError **errp)
{
    BlockdevOptions *options = co_block_overlay_options(args->snapshot_file, overlay_format(args),
                                                        args->snapshot_node_name, node, errp);
    BlockNode *overlay = options ? co_block_node_open(options, errp) : NULL;

    BlockdevOptions_free(options);
    return overlay;
}

static bool co_sync_prepare(Action *action, JobTxn *group, GError **errp)
{
    const BlockdevSnapshotSync *args = action->args;
    SnapshotAction *snapshot = (SnapshotAction *)action;

    snapshot->node = find_by_node_name(args, errp);
    if (!snapshot->node || !co_freeze(snapshot, errp) || !check_overlay_name(args, errp)) {
        return false;
    }
    snapshot->overlay = co_open_overlay(args, snapshot->node, errp);
    if (!snapshot->overlay) {
        return false;
    }
    snapshot->opened_here = true;
    if (!co_block_snapshot_append(snapshot->node, snapshot->overlay, errp)) {
        co_block_node_unref(snapshot->overlay);
        return false;
    }
    return true;
}

/* The overlay lives on by its parents; one without any is closed, as in QEMU. */
static void sync_finish(Action *action)
{
    co_block_node_unref(((SnapshotAction *)action)->overlay);
}

const ActionOps snapshot_sync_action = {
    .size = sizeof(SnapshotAction),
    .co_before = co_sync_before,
    .nodes = sync_nodes,
    .co_prepare = co_sync_prepare,
    .co_commit = co_snapshot_commit,
    .co_abort = co_snapshot_abort,
    .finish = sync_finish,
};
