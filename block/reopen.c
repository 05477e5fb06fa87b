/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reopening nodes; see reopen.h.
 *
 * A transaction over entries, one for each node that is named and for each child that was defined
 * inside such a node, parents first.  Each entry is prepared (its edges and options are changed in
 * place, its driver made ready); then permissions are computed for the whole new graph; then all
 * commit, children first, since a parent may write to them; or all are undone, the last one first.
 */
#include "block/reopen.h"

#include <string.h>

#include "block/control.h"
#include "block/graph.h"
#include "block/node-int.h"
#include "block/node-io.h"
#include "block/reopen-options.h"
#include "util/error.h"

/* An edge that ends elsewhere now; NULL at either end: it is made or goes away. */
typedef struct EdgeChange {
    const char *name;
    BlockNode *from, *to; /* a reference each */
    bool inherited;       /* @from was defined inside the node */
} EdgeChange;

typedef struct Entry {
    BlockNode *node;        /* a reference */
    BlockdevOptions *given; /* NULL: an inner child that only inherits */
    BlockOptions before, after;
    EdgeChange edges[2];
    unsigned n_edges;
    bool begun;             /* node->options are the new ones */
    bool inactivated;       /* the image was told that nobody writes */
    bool driver_prepared;
    void *driver_state;
} Entry;

/* --- which nodes -------------------------------------------------------------------------- */

static void entry_free(void *opaque)
{
    Entry *entry = opaque;

    for (unsigned i = 0; i < entry->n_edges; i++) {
        co_block_node_unref(entry->edges[i].from);
        co_block_node_unref(entry->edges[i].to);
    }
    BlockdevOptions_free(entry->given);
    co_block_node_unref(entry->node);
    g_free(entry);
}

static Entry *find_entry(const GPtrArray *queue, const BlockNode *node)
{
    for (guint i = 0; i < queue->len; i++) {
        Entry *entry = queue->pdata[i];

        if (entry->node == node) {
            return entry;
        }
    }
    return NULL;
}

static bool queue_node(GPtrArray *queue, BlockNode *node, const BlockdevOptions *given,
                       const BlockOptions *parent, GError **errp);

/* A child that was defined inside takes part, unless another one takes its place. */
static bool queue_child(GPtrArray *queue, const Entry *entry, const BlockChild *child,
                        GError **errp)
{
    g_autofree char *ref = NULL;
    g_autoptr(BlockdevOptions) options = NULL;
    BlockOptions inherited = entry->after;

    if (entry->given) {
        switch (block_reopen_child_option(entry->given, child->name, &ref, &options)) {
        case BLOCK_CHILD_OPTION_NULL:
            return true;
        case BLOCK_CHILD_OPTION_NAME:
            if (strcmp(ref, child->node->name) != 0) {
                return true;
            }
            break;
        default:
            break;
        }
    }
    inherited.read_only |= (child->role & BLOCK_ROLE_COW) != 0;
    return queue_node(queue, child->node, options, &inherited, errp);
}

static bool queue_children(GPtrArray *queue, const Entry *entry, GError **errp)
{
    for (guint i = 0; i < entry->node->children->len; i++) {
        const BlockChild *child = entry->node->children->pdata[i];

        if (child->node->inherits_from == entry->node && !queue_child(queue, entry, child, errp)) {
            return false;
        }
    }
    return true;
}

static bool set_given(Entry *entry, const BlockdevOptions *given, GError **errp)
{
    BlockdevOptions *merged = entry->given ? block_reopen_merge(entry->given, given, errp)
                                           : BlockdevOptions_copy(given);

    if (merged) {
        BlockdevOptions_free(entry->given);
        entry->given = merged;
    }
    return merged != NULL;
}

static bool queue_node(GPtrArray *queue, BlockNode *node, const BlockdevOptions *given,
                       const BlockOptions *parent, GError **errp)
{
    Entry *entry = find_entry(queue, node);

    if (!entry) {
        entry = g_new0(Entry, 1);
        entry->node = block_node_ref(node);
        entry->before = node->options;
        g_ptr_array_add(queue, entry);
    }
    return (!given || set_given(entry, given, errp)) &&
           block_node_resolve_options(&entry->after, entry->given ? entry->given : node->given,
                                      parent, errp) &&
           queue_children(queue, entry, errp);
}

static bool queue_named(GPtrArray *queue, const BlockdevOptions *options, GError **errp)
{
    BlockNode *node;

    if (!options->node_name) {
        return tm_error_set(errp, "node-name not specified");
    }
    node = block_node_find(options->node_name);
    if (!node) {
        return tm_error_set(errp, "Failed to find node with node-name='%s'", options->node_name);
    }
    return queue_node(queue, node, options, NULL, errp);
}

/* --- edges -------------------------------------------------------------------------------- */

static void move_edge(BlockNode *node, const char *name, BlockNode *to)
{
    BlockChild *child = block_node_child(node, name);

    if (child && to) {
        block_child_retarget(child, to);
    } else if (child) {
        co_block_child_unlink(child); /* the entry has a reference, so that nothing is closed */
    } else if (to) {
        block_child_link(node, NULL, to, name, BLOCK_ROLE_COW);
    }
}

static bool check_edge(const BlockNode *node, const char *name, const BlockNode *to, GError **errp)
{
    const BlockChild *child = block_node_child(node, name);

    if (to && block_graph_is_below(to, node)) {
        return tm_error_set(errp, "Making '%s' a %s child of '%s' would create a cycle", to->name,
                            name, node->name);
    }
    if (node->driver->is_filter && !child) {
        return tm_error_set(errp, "'%s' is a %s filter node that does not support a %s child",
                            node->name, BlockdevDriver_name(node->driver->id), name);
    }
    return true;
}

static bool change_edge(Entry *entry, const char *name, BlockNode *to, GError **errp)
{
    BlockNode *node = entry->node;
    const BlockChild *child = block_node_child(node, name);
    BlockNode *from = child ? child->node : NULL;
    EdgeChange *change = &entry->edges[entry->n_edges];

    if (from == to) {
        return true;
    }
    if (!check_edge(node, name, to, errp)) {
        return false;
    }
    *change = (EdgeChange){
        .name = name,
        .from = from ? block_node_ref(from) : NULL,
        .to = to ? block_node_ref(to) : NULL,
        .inherited = from && from->inherits_from == node,
    };
    entry->n_edges++;
    move_edge(node, name, to);
    if (change->inherited) {
        from->inherits_from = NULL;
    }
    return true;
}

static bool prepare_edge(Entry *entry, const char *name, GError **errp)
{
    g_autofree char *ref = NULL;
    BlockNode *to;

    switch (block_reopen_child_option(entry->given, name, &ref, NULL)) {
    case BLOCK_CHILD_OPTION_NULL:
        return change_edge(entry, name, NULL, errp);
    case BLOCK_CHILD_OPTION_NAME:
        to = block_node_find(ref);
        return to ? change_edge(entry, name, to, errp)
                  : tm_error_set(errp, "Cannot find device='' nor node-name='%s'", ref);
    default:
        return true;
    }
}

static void undo_edges(Entry *entry)
{
    while (entry->n_edges) {
        EdgeChange *change = &entry->edges[--entry->n_edges];

        move_edge(entry->node, change->name, change->from);
        if (change->inherited) {
            change->from->inherits_from = entry->node;
        }
        co_block_node_unref(change->from);
        co_block_node_unref(change->to);
    }
}

/* The node that will be below gets onto one loop with the node, before anything is drained. */
static bool co_join(const Entry *entry, const char *name, GError **errp)
{
    g_autofree char *ref = NULL;
    BlockNode *to;

    if (!entry->given ||
        block_reopen_child_option(entry->given, name, &ref, NULL) != BLOCK_CHILD_OPTION_NAME) {
        return true;
    }
    to = block_node_find(ref);
    return !to || co_block_graph_join(entry->node, to, errp);
}

/* --- one entry ---------------------------------------------------------------------------- */

static bool co_inactivate(Entry *entry, GError **errp)
{
    BlockNode *node = entry->node;
    const BlockDriver *driver = node->driver;
    int ret = 0;

    co_move(node->loop);
    if (driver->image && driver->image->co_inactivate) {
        ret = driver->image->co_inactivate(node);
        entry->inactivated = true;
    }
    ret = ret ? ret : co_gate_flush(node);
    co_move(control_loop());
    return ret == 0 || tm_error_set_errno(errp, -ret, "Cannot write node '%s' out", node->name);
}

/* It may be written (again): its bitmaps record. */
static void co_activate(const Entry *entry)
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

static bool co_prepare_driver(Entry *entry, GError **errp)
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

static bool check_given(const Entry *entry, GError **errp)
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

static bool prepare_edges(Entry *entry, GError **errp)
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
    return prepare_edge(entry, "backing", errp) && prepare_edge(entry, "file", errp) &&
           block_reopen_check_unchanged(node, entry->given, errp);
}

static bool co_prepare(Entry *entry, GError **errp)
{
    BlockNode *node = entry->node;

    if (!check_reopens(node, errp) || !check_given(entry, errp)) {
        return false;
    }
    if (entry->after.read_only && !node->options.read_only && !co_inactivate(entry, errp)) {
        return false;
    }
    node->becomes_read_only = entry->after.read_only && !node->options.read_only;
    node->options = entry->after;
    entry->begun = true;
    return prepare_edges(entry, errp) && co_prepare_driver(entry, errp);
}

static void co_undo(Entry *entry)
{
    BlockNode *node = entry->node;

    if (entry->driver_prepared) {
        node->driver->reopen->co_abort(node, entry->driver_state);
    }
    undo_edges(entry);
    if (entry->begun) {
        node->options = entry->before;
    }
    node->becomes_read_only = false;
}

static void co_commit(Entry *entry)
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
        BlockNode *node = ((Entry *)queue->pdata[i])->node;
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
        if (((Entry *)queue->pdata[i])->inactivated) {
            co_activate(queue->pdata[i]);
        }
    }
}

static bool co_transact(const GPtrArray *queue, GError **errp)
{
    bool ok = co_flush_all(queue, errp);

    if (ok && !co_prepare_all(queue, errp)) {
        co_undo_all(queue);
        ok = false;
    }
    for (guint i = queue->len; ok && i-- > 0;) {
        co_commit(queue->pdata[i]);
    }
    return ok;
}

/* Graphs that lost their users by the change, or by its failure, go back to loop 0. */
static void co_send_home(const GPtrArray *queue)
{
    for (guint i = 0; i < queue->len; i++) {
        const Entry *entry = queue->pdata[i];

        for (unsigned j = 0; j < entry->n_edges; j++) {
            if (entry->edges[j].from) {
                co_block_graph_send_home(entry->edges[j].from);
            }
        }
        co_block_graph_send_home(entry->node);
    }
}

static bool co_reopen_queue(const GPtrArray *queue, GError **errp)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    BlockDrain *drain;
    bool ok;

    for (guint i = 0; i < queue->len; i++) {
        const Entry *entry = queue->pdata[i];

        if (!co_join(entry, "backing", errp) || !co_join(entry, "file", errp)) {
            return false;
        }
        g_ptr_array_add(nodes, entry->node);
    }
    /* A node that will be below is drained with the one it joined only if it is connected to it. */
    for (guint i = 0; i < queue->len; i++) {
        static const char *const names[] = { "backing", "file" };
        const Entry *entry = queue->pdata[i];

        for (unsigned j = 0; entry->given && j < G_N_ELEMENTS(names); j++) {
            g_autofree char *ref = NULL;
            BlockNode *below;

            block_reopen_child_option(entry->given, names[j], &ref, NULL);
            below = ref ? block_node_find(ref) : NULL;
            if (below) {
                g_ptr_array_add(nodes, below);
            }
        }
    }
    drain = co_block_drain_begin_many((BlockNode *const *)nodes->pdata, nodes->len);
    ok = co_transact(queue, errp);
    co_block_drain_end(drain);
    co_send_home(queue);
    return ok;
}

bool co_block_reopen(const GPtrArray *list, GError **errp)
{
    g_autoptr(GPtrArray) queue = g_ptr_array_new_with_free_func(entry_free);

    g_assert(control_locked_by_me());
    for (guint i = 0; i < list->len; i++) {
        if (!queue_named(queue, list->pdata[i], errp)) {
            return false;
        }
    }
    return queue->len == 0 || co_reopen_queue(queue, errp);
}
