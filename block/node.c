/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Nodes: names, references, life; see node.h. Opening is in node-open.c. */
#include <string.h>

#include "bitmap/dirty-bitmap.h"
#include "block/control.h"
#include "block/graph.h"
#include "block/node-int.h"
#include "block/node-io.h"
#include "util/error.h"

/* All nodes by age: names are the process's, as in QEMU. Loop 0. */
static struct {
    GPtrArray *all;
    GHashTable *by_name;
    unsigned made_up;
} nodes;

const GPtrArray *block_nodes(void)
{
    if (!nodes.all) {
        nodes.all = g_ptr_array_new();
        nodes.by_name = g_hash_table_new(g_str_hash, g_str_equal);
    }
    return nodes.all;
}

BlockNode *block_node_find(const char *name)
{
    block_nodes();
    return g_hash_table_lookup(nodes.by_name, name);
}

BlockNode *block_node_lookup(const char *name, GError **errp)
{
    BlockNode *node = block_node_find(name);

    if (!node) {
        tm_error_set(errp, "Cannot find device='%s' nor node-name='%s'", name, name);
    }
    return node;
}

/*
 * QEMU's rule of well-formed ids: a letter, then letters, digits, '-', '.', '_'; at most 31 bytes.
 */
static bool name_is_valid(const char *name, GError **errp)
{
    bool ok = g_ascii_isalpha(name[0]);

    for (const char *c = name; *c && ok; c++) {
        ok = g_ascii_isalnum(*c) || strchr("-._", *c);
    }
    if (!ok) {
        return tm_error_set(errp, "Invalid node-name: '%s'", name);
    }
    if (block_node_find(name)) {
        return tm_error_set(errp, "Duplicate nodes with node-name='%s'", name);
    }
    if (strlen(name) >= 32) {
        return tm_error_set(errp, "Node name too long");
    }
    return true;
}

BlockNode *block_node_new(const char *name, const BlockDriver *driver, GError **errp)
{
    BlockNode *node;

    block_nodes();
    if (name && !name_is_valid(name, errp)) {
        return NULL;
    }
    node = g_new0(BlockNode, 1);
    node->name = name ? g_strdup(name) : g_strdup_printf("#block%03u", nodes.made_up++);
    node->driver = driver;
    node->state = g_malloc0(MAX(driver->state_size, 1));
    node->filename = g_strdup("");
    node->loop = control_loop();
    node->refcount = 1;
    node->limits.request_alignment = 1;
    node->children = g_ptr_array_new();
    node->parents = g_ptr_array_new();
    node->bitmaps = g_ptr_array_new();
    node->hooks = g_ptr_array_new();
    g_ptr_array_add(nodes.all, node);
    g_hash_table_insert(nodes.by_name, node->name, node);
    return node;
}

BlockNode *block_node_ref(BlockNode *node)
{
    node->refcount++;
    return node;
}

/*
 * Runs on the node's loop, where its requests ran; the graph above is gone, so nothing is in
 * flight.
 */
static void co_close(BlockNode *node)
{
    co_move(node->loop);
    /* A filter has nothing of its own, and at the end of a job its guest is waiting. */
    /* Nobody is left whom an error could be told; jobs and exports have flushed before. */
    if (!node->driver->is_filter && co_gate_flush(node) < 0) {
        g_warning("Node '%s': flush before closing failed", node->name);
    }
    if (node->driver->co_close) {
        node->driver->co_close(node);
    }
    co_move(control_loop());
}

/* Nobody follows a node that is gone. */
static void forget_heirs(const BlockNode *node)
{
    for (unsigned i = 0; i < nodes.all->len; i++) {
        BlockNode *heir = nodes.all->pdata[i];

        if (heir->inherits_from == node) {
            heir->inherits_from = NULL;
        }
    }
}

static void node_free(BlockNode *node)
{
    forget_heirs(node);
    BlockdevOptions_free(node->given);
    g_hash_table_remove(nodes.by_name, node->name);
    g_ptr_array_remove(nodes.all, node);
    g_ptr_array_set_free_func(node->bitmaps, (GDestroyNotify)dirty_bitmap_free);
    g_ptr_array_free(node->bitmaps, true);
    g_ptr_array_free(node->children, true);
    g_ptr_array_free(node->parents, true);
    g_ptr_array_free(node->hooks, true);
    g_free(node->filename);
    g_free(node->state);
    g_free(node->name);
    g_free(node);
}

/* What was below may have been on its loop only for the sake of what was above. */
static void co_drop_child(BlockChild *child)
{
    BlockNode *below = block_node_ref(child->node);

    co_block_child_unlink(child);
    co_block_graph_send_home(below);
    co_block_node_unref(below);
}

void co_block_node_unref(BlockNode *node)
{
    if (!node || --node->refcount > 0) {
        return;
    }
    g_assert(node->parents->len == 0 && node->in_flight == 0);
    if (node->opened) {
        co_close(node);
        node->opened = false;
    }
    while (node->children->len) {
        co_drop_child(node->children->pdata[node->children->len - 1]);
    }
    node_free(node);
    block_graph_update_perms(NULL);
}

bool block_node_is_read_only(const BlockNode *node)
{
    return node->options.read_only ||
           (node->driver->is_filter && node->file && block_node_is_read_only(node->file->node));
}

const char *block_node_filename(const BlockNode *node)
{
    while (node->file) {
        node = node->file->node;
    }
    return node->filename;
}

BlockNode *block_node_skip_filters(BlockNode *node)
{
    while (node && node->driver->is_filter && node->file) {
        node = node->file->node;
    }
    return node;
}

BlockNode *block_node_backing(BlockNode *node)
{
    const BlockNode *layer = block_node_skip_filters(node);

    for (unsigned i = 0; i < layer->children->len; i++) {
        BlockChild *child = layer->children->pdata[i];

        if (child->role & BLOCK_ROLE_COW) {
            return child->node;
        }
    }
    return NULL;
}

BlockChild *block_node_child(const BlockNode *node, const char *name)
{
    for (unsigned i = 0; i < node->children->len; i++) {
        BlockChild *child = node->children->pdata[i];

        if (strcmp(child->name, name) == 0) {
            return child;
        }
    }
    return NULL;
}
