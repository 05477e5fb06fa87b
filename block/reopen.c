/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reopening nodes; see reopen.h.
 *
 * A transaction over entries, parents first.  Each is prepared (what its driver holds is written
 * out, its edges and options are changed in place, its driver made ready); then permissions are
 * computed for the whole new graph; then all commit, children first, since a parent may write to
 * them; or all are undone, the last one first.  reopen-queue.c says which nodes take part,
 * reopen-edges.c changes edges, and reopen-options.c knows which options may change.
 */
#include "block/reopen.h"

#include "block/control.h"
#include "block/graph.h"
#include "block/node-int.h"
#include "block/node-io.h"
#include "block/reopen-int.h"
#include "block/reopen-options.h"
#include "util/error.h"

/* --- one entry ---------------------------------------------------------------------------- */

static bool gives_up_writing(const ReopenEntry *entry)
{
    return entry->after.read_only && !entry->before.read_only;
}

static int co_inactivate(ReopenEntry *entry)
{
    BlockNode *node = entry->node;
    const BlockImageOps *image = node->driver->image;
    int ret = 0;

    if (image && image->co_inactivate) {
        entry->inactivated = true;
        ret = image->co_inactivate(node);
    }
    return ret ? ret : co_gate_flush(node);
}

/* While its edges are the old ones: a new file is not locked yet, and may be another one. */
static bool co_write_out(ReopenEntry *entry, GError **errp)
{
    BlockNode *node = entry->node;
    const BlockReopenOps *ops = node->driver->reopen;
    int ret = 0;

    co_move(node->loop);
    if (gives_up_writing(entry)) {
        ret = co_inactivate(entry);
    } else if (ops->co_settle) {
        ret = ops->co_settle(node);
    }
    co_move(control_loop());
    return ret == 0 || tm_error_set_errno(errp, -ret, "Cannot write node '%s' out", node->name);
}

/* It may be written (again): its bitmaps record. */
static void co_activate(const ReopenEntry *entry)
{
    BlockNode *node = entry->node;
    g_autoptr(GError) error = NULL;

    if (!node->driver->bitmaps) {
        return;
    }
    co_move(node->loop);
    if (!node->driver->bitmaps->co_activate(node, &error)) {
        g_warning("Node '%s': %s", node->name, error->message);
    }
    co_move(control_loop());
}

static bool co_prepare_driver(ReopenEntry *entry, GError **errp)
{
    const BlockReopenOps *ops = entry->node->driver->reopen;

    if (!ops->co_prepare) {
        return true;
    }
    entry->driver_prepared =
        ops->co_prepare(entry->node, entry->given ? entry->given : entry->node->given,
                        &entry->before, &entry->driver_state, errp);
    return entry->driver_prepared;
}

static bool check_given(const ReopenEntry *entry, GError **errp)
{
    const BlockNode *node = entry->node;

    if (!entry->given) {
        return true;
    }
    if (entry->given->driver != node->driver->id) {
        return tm_error_set(errp, "Cannot change the option 'driver'");
    }
    return block_reopen_check_reset(node, entry->given, errp);
}

static bool check_reopens(const BlockNode *node, GError **errp)
{
    return node->driver->reopen ||
           tm_error_set(errp,
                        "Block format '%s' used by node '%s' does not support reopening files",
                        BlockdevDriver_name(node->driver->id), node->name);
}

static bool prepare_edges(ReopenEntry *entry, GError **errp)
{
    const BlockNode *node = entry->node;

    if (!entry->given) {
        return true;
    }
    if (node->driver->supports_backing &&
        block_reopen_child_option(entry->given, "backing", NULL, NULL) ==
            BLOCK_CHILD_OPTION_ABSENT && block_node_child(node, "backing")) {
        return tm_error_set(errp, "backing is missing for '%s'", node->name);
    }
    return reopen_edges_change(entry, errp) &&
           block_reopen_check_unchanged(node, entry->given, errp);
}

static bool co_prepare(ReopenEntry *entry, GError **errp)
{
    BlockNode *node = entry->node;

    if (!check_reopens(node, errp) || !check_given(entry, errp) || !co_write_out(entry, errp)) {
        return false;
    }
    node->becomes_read_only = gives_up_writing(entry);
    node->options = entry->after;
    entry->begun = true;
    return prepare_edges(entry, errp) && co_prepare_driver(entry, errp);
}

static void co_undo(ReopenEntry *entry)
{
    BlockNode *node = entry->node;

    if (entry->driver_prepared) {
        node->driver->reopen->co_abort(node, entry->driver_state);
    }
    co_reopen_edges_undo(entry);
    if (entry->begun) {
        node->options = entry->before;
    }
    node->becomes_read_only = false;
}

static void co_commit(ReopenEntry *entry)
{
    BlockNode *node = entry->node;

    node->becomes_read_only = false;
    if (entry->driver_prepared) {
        node->driver->reopen->co_commit(node, entry->driver_state);
    }
    if (entry->given) {
        BlockdevOptions_free(node->given);
        node->given = g_steal_pointer(&entry->given);
    }
    co_move(node->loop);
    if (!co_block_node_size_changed(node, NULL)) {
        g_warning("Node '%s': its size could not be read again", node->name);
    }
    co_move(control_loop());
    if (entry->before.read_only && !node->options.read_only) {
        co_activate(entry);
    }
}

/* --- all of them -------------------------------------------------------------------------- */

static bool co_flush_all(const GPtrArray *queue, GError **errp)
{
    for (guint i = 0; i < queue->len; i++) {
        BlockNode *node = ((ReopenEntry *)queue->pdata[i])->node;
        int ret;

        co_move(node->loop);
        ret = co_gate_flush(node);
        co_move(control_loop());
        if (ret < 0) {
            return tm_error_set_errno(errp, -ret, "Error flushing drive");
        }
    }
    return true;
}

static bool co_prepare_all(const GPtrArray *queue, GError **errp)
{
    for (guint i = 0; i < queue->len; i++) {
        if (!co_prepare(queue->pdata[i], errp)) {
            return false;
        }
    }
    return block_graph_update_perms(errp);
}

static void co_undo_all(const GPtrArray *queue)
{
    for (guint i = queue->len; i-- > 0;) {
        co_undo(queue->pdata[i]);
    }
    block_graph_update_perms(NULL);
    for (guint i = queue->len; i-- > 0;) {
        if (((ReopenEntry *)queue->pdata[i])->inactivated) {
            co_activate(queue->pdata[i]);
        }
    }
}

static void co_commit_all(GPtrArray *queue)
{
    reopen_queue_sort(queue); /* by the new edges */
    for (guint i = queue->len; i-- > 0;) {
        co_commit(queue->pdata[i]);
    }
}

static bool co_transact(GPtrArray *queue, GError **errp)
{
    bool ok = false;

    reopen_queue_sort(queue);
    if (co_flush_all(queue, errp)) {
        ok = co_prepare_all(queue, errp);
        if (ok) {
            co_commit_all(queue);
        } else {
            co_undo_all(queue);
        }
    }
    return ok;
}

/* The nodes themselves, and those that are to be below them, which may not be connected yet. */
static GPtrArray *concerned(const GPtrArray *queue)
{
    GPtrArray *nodes = g_ptr_array_new();

    for (guint i = 0; i < queue->len; i++) {
        const ReopenEntry *entry = queue->pdata[i];

        g_ptr_array_add(nodes, entry->node);
        for (unsigned j = 0; j < entry->n_edges; j++) {
            if (entry->edges[j].to) {
                g_ptr_array_add(nodes, entry->edges[j].to);
            }
        }
    }
    return nodes;
}

static bool co_transact_drained(GPtrArray *queue, GError **errp)
{
    g_autoptr(GPtrArray) nodes = concerned(queue);
    BlockDrain *drain = co_block_drain_begin_many((BlockNode *const *)nodes->pdata, nodes->len);
    bool ok = co_transact(queue, errp);

    co_block_drain_end(drain);
    return ok;
}

bool co_block_reopen(const GPtrArray *list, GError **errp)
{
    g_autoptr(GPtrArray) queue = reopen_queue_new(list, errp);
    bool ok;

    g_assert(control_locked_by_me());
    if (!queue) {
        return false;
    }
    ok = co_reopen_edges_join(queue, errp) && co_transact_drained(queue, errp);
    co_reopen_edges_send_home(queue);
    return ok;
}
