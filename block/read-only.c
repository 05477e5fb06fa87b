/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A live node becomes read-only; see read-only.h. */
#include "block/read-only.h"

#include <errno.h>

#include "block/child.h"
#include "block/control.h"
#include "block/driver.h"
#include "block/graph.h"
#include "block/node-io.h"

#define PERM_CHANGES (BLOCK_PERM_WRITE | BLOCK_PERM_WRITE_UNCHANGED | BLOCK_PERM_RESIZE)

static int co_write_out(BlockNode *node)
{
    const BlockDriver *driver = node->driver;
    int ret;

    co_move(node->loop);
    if (driver->image && driver->image->co_inactivate) {
        ret = driver->image->co_inactivate(node);
    } else {
        ret = driver->bitmaps ? driver->bitmaps->co_store(node) : 0;
    }
    if (ret == 0) {
        ret = co_gate_flush(node);
    }
    co_move(control_loop());
    return ret;
}

/* Was it opened as part of @child's parent, so that nobody else knows it? */
static bool is_part_of_parent(const BlockChild *child)
{
    return !(child->role & BLOCK_ROLE_COW) && !child->node->by_user &&
           child->node->parents->len == 1;
}

static void set_read_only(BlockNode *node)
{
    node->options.read_only = true;
    for (guint i = 0; i < node->children->len; i++) {
        const BlockChild *child = node->children->pdata[i];

        if (is_part_of_parent(child)) {
            set_read_only(child->node);
        }
    }
}

int co_block_node_make_read_only(BlockNode *node)
{
    int ret;

    g_assert(control_locked_by_me());
    if (node->options.read_only) {
        return 0;
    }
    if (node->perm & PERM_CHANGES) {
        return -EBUSY;
    }
    ret = co_write_out(node);
    if (ret == 0) {
        set_read_only(node);
        block_graph_update_perms(NULL); /* it takes less: nobody can object */
    }
    return ret;
}
