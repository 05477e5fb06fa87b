/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which nodes are reopened, with which options, and in which order; see reopen-int.h.  A child that
 * was defined inside a node takes part, since it inherits options.
 */
#include <string.h>

#include "block/graph.h"
#include "block/node-int.h"
#include "block/reopen-int.h"
#include "block/reopen-options.h"
#include "util/error.h"

/* --- entries ------------------------------------------------------------------------------ */

static void entry_free(void *opaque)
{
    ReopenEntry *entry = opaque;

    co_reopen_edges_free(entry);
    BlockdevOptions_free(entry->given);
    co_block_node_unref(entry->node);
    g_free(entry);
}

static ReopenEntry *find_entry(const GPtrArray *queue, const BlockNode *node)
{
    for (guint i = 0; i < queue->len; i++) {
        ReopenEntry *entry = queue->pdata[i];

        if (entry->node == node) {
            return entry;
        }
    }
    return NULL;
}

static bool queue_node(GPtrArray *queue, BlockNode *node, const BlockdevOptions *given,
                       const BlockOptions *parent, GError **errp);

/* A child that was defined inside takes part, unless another one takes its place. */
static bool queue_child(GPtrArray *queue, const ReopenEntry *entry, const BlockChild *child,
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

static bool queue_children(GPtrArray *queue, const ReopenEntry *entry, GError **errp)
{
    for (guint i = 0; i < entry->node->children->len; i++) {
        const BlockChild *child = entry->node->children->pdata[i];

        if (child->node->inherits_from == entry->node && !queue_child(queue, entry, child, errp)) {
            return false;
        }
    }
    return true;
}

static bool set_given(ReopenEntry *entry, const BlockdevOptions *given, GError **errp)
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
    ReopenEntry *entry = find_entry(queue, node);

    if (!entry) {
        entry = g_new0(ReopenEntry, 1);
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

static bool queue_list(GPtrArray *queue, const GPtrArray *list, GError **errp)
{
    for (guint i = 0; i < list->len; i++) {
        if (!queue_named(queue, list->pdata[i], errp)) {
            return false;
        }
    }
    for (guint i = 0; i < queue->len; i++) {
        if (!reopen_edges_find(queue->pdata[i], errp)) {
            return false;
        }
    }
    return true;
}

GPtrArray *reopen_queue_new(const GPtrArray *list, GError **errp)
{
    GPtrArray *queue = g_ptr_array_new_with_free_func(entry_free);

    if (!queue_list(queue, list, errp)) {
        g_clear_pointer(&queue, g_ptr_array_unref);
    }
    return queue;
}

/* --- order -------------------------------------------------------------------------------- */

static gint compare_places(gconstpointer a, gconstpointer b, gpointer places)
{
    const ReopenEntry *x = *(const ReopenEntry *const *)a, *y = *(const ReopenEntry *const *)b;

    return GPOINTER_TO_INT(g_hash_table_lookup(places, x->node)) -
           GPOINTER_TO_INT(g_hash_table_lookup(places, y->node));
}

void reopen_queue_sort(GPtrArray *queue)
{
    g_autoptr(GPtrArray) nodes = block_graph_parents_first();
    g_autoptr(GHashTable) places = g_hash_table_new(NULL, NULL);

    for (guint i = 0; i < nodes->len; i++) {
        g_hash_table_insert(places, nodes->pdata[i], GINT_TO_POINTER(i));
    }
    g_ptr_array_sort_with_data(queue, compare_places, places);
}
