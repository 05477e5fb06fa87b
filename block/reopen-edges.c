/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Edges of reopened nodes that are to end elsewhere; see reopen-int.h. */
#include "block/graph.h"
#include "block/node-int.h"
#include "block/reopen-int.h"
#include "block/reopen-options.h"
#include "util/error.h"

/* --- what is asked for -------------------------------------------------------------------- */

static void add_edge(ReopenEntry *entry, const char *name, BlockNode *to)
{
    const BlockChild *child = block_node_child(entry->node, name);
    BlockNode *from = child ? child->node : NULL;

    if (from != to) {
        entry->edges[entry->n_edges++] = (ReopenEdge){
            .name = name,
            .from = from ? block_node_ref(from) : NULL,
            .to = to ? block_node_ref(to) : NULL,
            .inherited = from && from->inherits_from == entry->node,
        };
    }
}

static bool find_edge(ReopenEntry *entry, const char *name, GError **errp)
{
    g_autofree char *ref = NULL;
    BlockNode *to = NULL;

    switch (block_reopen_child_option(entry->given, name, &ref, NULL)) {
    case BLOCK_CHILD_OPTION_NULL:
        break;
    case BLOCK_CHILD_OPTION_NAME:
        to = block_node_find(ref);
        if (!to) {
            return tm_error_set(errp, "Cannot find device='' nor node-name='%s'", ref);
        }
        break;
    default:
        return true;
    }
    add_edge(entry, name, to);
    return true;
}

bool reopen_edges_find(ReopenEntry *entry, GError **errp)
{
    return !entry->given ||
           (find_edge(entry, "backing", errp) && find_edge(entry, "file", errp));
}

void co_reopen_edges_free(ReopenEntry *entry)
{
    for (unsigned i = 0; i < entry->n_edges; i++) {
        co_block_node_unref(entry->edges[i].from);
        co_block_node_unref(entry->edges[i].to);
    }
}

/* --- loops -------------------------------------------------------------------------------- */

static bool co_join_entry(const ReopenEntry *entry, bool *moved, GError **errp)
{
    for (unsigned i = 0; i < entry->n_edges; i++) {
        BlockNode *to = entry->edges[i].to;

        if (to && to->loop != entry->node->loop) {
            *moved = true;
            if (!co_block_graph_join(entry->node, to, errp)) {
                return false;
            }
        }
    }
    return true;
}

/*
 * The edges are not there yet: a graph that moves for the sake of one may leave the other end of
 * another, which then follows.  Where several users are pinned there may be no end to that.
 */
bool co_reopen_edges_join(const GPtrArray *queue, GError **errp)
{
    bool moved = true;

    for (guint tries = 0; moved; tries++) {
        moved = false;
        for (guint i = 0; i < queue->len; i++) {
            if (!co_join_entry(queue->pdata[i], &moved, errp)) {
                return false;
            }
        }
        if (tries > REOPEN_MAX_EDGES * queue->len) {
            return tm_error_set(errp, "The nodes that are to be connected are used on different "
                                      "iothreads by users that stay there");
        }
    }
    return true;
}

void co_reopen_edges_send_home(const GPtrArray *queue)
{
    for (guint i = 0; i < queue->len; i++) {
        const ReopenEntry *entry = queue->pdata[i];

        co_block_graph_send_home(entry->node);
        for (unsigned j = 0; j < entry->n_edges; j++) {
            const ReopenEdge *edge = &entry->edges[j];

            if (edge->from) {
                co_block_graph_send_home(edge->from);
            }
            if (edge->to) {
                co_block_graph_send_home(edge->to);
            }
        }
    }
}

/* --- the change --------------------------------------------------------------------------- */

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

static bool check_edge(const BlockNode *node, const ReopenEdge *edge, GError **errp)
{
    if (edge->to && block_graph_is_below(edge->to, node)) {
        return tm_error_set(errp, "Making '%s' a %s child of '%s' would create a cycle",
                            edge->to->name, edge->name, node->name);
    }
    if (node->driver->is_filter && !edge->from) {
        return tm_error_set(errp, "'%s' is a %s filter node that does not support a %s child",
                            node->name, BlockdevDriver_name(node->driver->id), edge->name);
    }
    return !edge->to || block_graph_check_depth(node, edge->to, errp);
}

bool reopen_edges_change(ReopenEntry *entry, GError **errp)
{
    for (unsigned i = 0; i < entry->n_edges; i++) {
        ReopenEdge *edge = &entry->edges[i];

        if (!check_edge(entry->node, edge, errp)) {
            return false;
        }
        move_edge(entry->node, edge->name, edge->to);
        if (edge->inherited) {
            edge->from->inherits_from = NULL;
        }
        edge->changed = true;
    }
    return true;
}

void co_reopen_edges_undo(ReopenEntry *entry)
{
    for (unsigned i = entry->n_edges; i-- > 0;) {
        ReopenEdge *edge = &entry->edges[i];

        if (!edge->changed) {
            continue;
        }
        move_edge(entry->node, edge->name, edge->from);
        if (edge->inherited) {
            edge->from->inherits_from = entry->node;
        }
        edge->changed = false;
    }
}
