/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Permissions, as QEMU has them: each edge says what its parent does with the node and what it lets
 * others do.  Users' edges are given; those between nodes follow from the users down, by each
 * driver's rule.  A change is computed for the whole graph first, then checked with the drivers
 * (which lock images), and only then put in force.
 */
#include "block/graph.h"
#include "block/node-int.h"
#include "util/error.h"

static void visit(BlockNode *node, GHashTable *seen, GPtrArray *order)
{
    if (!g_hash_table_add(seen, node)) {
        return;
    }
    for (unsigned i = 0; i < node->parents->len; i++) {
        BlockChild *edge = node->parents->pdata[i];

        if (edge->parent) {
            visit(edge->parent, seen, order);
        }
    }
    g_ptr_array_add(order, node);
}

GPtrArray *block_graph_parents_first(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    GPtrArray *order = g_ptr_array_new();
    const GPtrArray *all = block_nodes();

    for (unsigned i = 0; i < all->len; i++) {
        visit(all->pdata[i], seen, order);
    }
    return order;
}

static char *perm_names(unsigned perm)
{
    static const char *const names[] = { "consistent read", "write", "write unchanged", "resize" };
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        if (perm & (1u << i)) {
            g_string_append_printf(text, "%s%s", text->len ? ", " : "", names[i]);
        }
    }
    return g_string_free(text, false);
}

static char *describe_parent(const BlockChild *edge)
{
    return edge->parent ? g_strdup_printf("node '%s'", edge->parent->name)
                        : edge->user->ops->describe(edge->user->opaque);
}

/* Does @a let @b do what it needs? */
static bool allows(const BlockChild *a, const BlockChild *b, GError **errp)
{
    unsigned denied = b->new_perm & ~a->new_shared & BLOCK_PERM_ALL;
    g_autofree char *names = NULL, *a_text = NULL, *b_text = NULL;

    if (!denied) {
        return true;
    }
    names = perm_names(denied);
    a_text = describe_parent(a);
    b_text = describe_parent(b);
    return tm_error_set(errp,
                        "Permission conflict on node '%s': permissions '%s' are both required by "
                        "%s (uses node '%s' as '%s' child) and unshared by %s (uses node '%s' as "
                        "'%s' child).",
                        a->node->name, names, b_text, a->node->name, b->name, a_text, a->node->name,
                        a->name);
}

/* Adds up what the parents do and share.  The newest comes first: of several conflicts, QEMU's. */
static bool cumulate(const BlockNode *node, unsigned *perm, unsigned *shared, GError **errp)
{
    *perm = 0;
    *shared = BLOCK_PERM_ALL;
    for (unsigned i = node->parents->len; i-- > 0;) {
        BlockChild *a = node->parents->pdata[i];

        *perm |= a->new_perm;
        *shared &= a->new_shared;
        for (unsigned j = node->parents->len; j-- > 0;) {
            if (i != j && !allows(a, node->parents->pdata[j], errp)) {
                return false;
            }
        }
    }
    return true;
}

static bool check_writable(const BlockNode *node, unsigned perm, GError **errp)
{
    unsigned write = BLOCK_PERM_WRITE | BLOCK_PERM_WRITE_UNCHANGED;

    if ((perm & write) && node->options.read_only) {
        return node->becomes_read_only
                   ? tm_error_set(errp, "Read-only block node '%s' cannot support read-write users",
                                  node->name)
                   : tm_error_set(errp, "Block node is read-only");
    }
    if ((perm & write) && !(perm & BLOCK_PERM_RESIZE) &&
        block_node_size(node) % node->limits.request_alignment) {
        return tm_error_set(errp, "Cannot get 'write' permission without 'resize': "
                                  "Image size is not a multiple of request alignment");
    }
    return true;
}

static void compute_children(BlockNode *node, unsigned perm, unsigned shared)
{
    for (unsigned i = 0; i < node->children->len; i++) {
        BlockChild *child = node->children->pdata[i];

        if (node->driver->child_perm) {
            node->driver->child_perm(node, child, child->role, perm, shared, &child->new_perm,
                                     &child->new_shared);
        } else {
            block_default_child_perm(node, child, child->role, perm, shared, &child->new_perm,
                                     &child->new_shared);
        }
        if (node->options.force_share) {
            child->new_shared = BLOCK_PERM_ALL;
        }
    }
}

typedef struct NodePerm {
    BlockNode *node;
    unsigned perm, shared;
    bool checked; /* the driver prepared it */
} NodePerm;

static void start_from_users(BlockNode *node)
{
    for (unsigned i = 0; i < node->parents->len; i++) {
        BlockChild *edge = node->parents->pdata[i];

        if (edge->user) {
            edge->new_perm = edge->perm;
            edge->new_shared = edge->shared;
        }
    }
}

static bool compute_node(BlockNode *node, NodePerm *result, GError **errp)
{
    start_from_users(node);
    result->node = node;
    if (!cumulate(node, &result->perm, &result->shared, errp) ||
        !check_writable(node, result->perm, errp)) {
        return false;
    }
    compute_children(node, result->perm, result->shared);
    return true;
}

static bool check_with_driver(NodePerm *np, GError **errp)
{
    const BlockPermOps *ops = np->node->driver->perm;

    if (!ops || !np->node->opened ||
        (np->perm == np->node->perm && np->shared == np->node->shared)) {
        return true;
    }
    np->checked = ops->check(np->node, np->perm, np->shared, errp);
    return np->checked;
}

/* Unchanged values are not written: the data path of other graphs may be reading them. */
static void put_in_force(const NodePerm *np)
{
    BlockNode *node = np->node;

    if (np->checked) {
        node->driver->perm->commit(node, np->perm, np->shared);
    }
    if (node->perm != np->perm || node->shared != np->shared) {
        node->perm = np->perm;
        node->shared = np->shared;
    }
    for (unsigned i = 0; i < node->children->len; i++) {
        BlockChild *child = node->children->pdata[i];

        if (child->perm != child->new_perm || child->shared != child->new_shared) {
            child->perm = child->new_perm;
            child->shared = child->new_shared;
        }
    }
}

bool block_graph_update_perms(GError **errp)
{
    g_autoptr(GPtrArray) order = block_graph_parents_first();
    g_autofree NodePerm *perms = g_new0(NodePerm, order->len);
    bool ok = true;
    unsigned done = 0;

    for (unsigned i = 0; i < order->len && ok; i++) {
        ok = compute_node(order->pdata[i], &perms[i], errp);
    }
    for (; done < order->len && ok; done++) {
        ok = check_with_driver(&perms[done], errp);
    }
    for (unsigned i = 0; i < order->len; i++) {
        if (ok) {
            put_in_force(&perms[i]);
        } else if (perms[i].checked) {
            perms[i].node->driver->perm->abort(perms[i].node);
        }
    }
    return ok;
}

static void filter_child_perm(unsigned perm, unsigned shared, unsigned *child_perm,
                              unsigned *child_shared)
{
    *child_perm = perm;
    *child_shared = shared;
}

/*
 * What lies in a backing file shows only where the node above has nothing: others may not write
 * there.
 */
static void cow_child_perm(unsigned perm, unsigned shared, unsigned *child_perm,
                           unsigned *child_shared)
{
    *child_perm = perm & BLOCK_PERM_CONSISTENT_READ;
    *child_shared = BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE_UNCHANGED;
    if (shared & BLOCK_PERM_WRITE) {
        *child_shared |= BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE;
    }
}

/* A format's metadata are its own; its data grow when it is written. */
static void storage_child_perm(const BlockNode *node, unsigned role, unsigned perm, unsigned shared,
                               unsigned *child_perm, unsigned *child_shared)
{
    filter_child_perm(perm, shared, child_perm, child_shared);
    if (role & BLOCK_ROLE_METADATA) {
        if (!node->options.read_only) {
            *child_perm |= BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE;
        }
        *child_perm |= BLOCK_PERM_CONSISTENT_READ;
        *child_shared &= ~(BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE);
    }
    if (role & BLOCK_ROLE_DATA) {
        if (perm & BLOCK_PERM_WRITE) {
            *child_perm |= BLOCK_PERM_RESIZE;
        }
        *child_shared &= ~BLOCK_PERM_RESIZE;
    }
}

void block_default_child_perm(BlockNode *node, BlockChild *child, unsigned role, unsigned perm,
                              unsigned shared, unsigned *child_perm, unsigned *child_shared)
{
    if (role & BLOCK_ROLE_FILTERED) {
        filter_child_perm(perm, shared, child_perm, child_shared);
    } else if (role & BLOCK_ROLE_COW) {
        cow_child_perm(perm, shared, child_perm, child_shared);
    } else {
        storage_child_perm(node, role, perm, shared, child_perm, child_shared);
    }
}
