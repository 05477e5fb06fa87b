/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What transactions, and the commands of the same names, do to dirty bitmaps. */
#include "block/control.h"
#include "block/driver.h"
#include "block/node-bitmaps.h"
#include "monitor/transaction.h"
#include "util/error.h"

typedef struct BitmapAction {
    Action action;
    BlockNode *node;
    DirtyBitmap *bitmap;
    SparseBitmap *undo; /* its bits as they were, or NULL */
    bool was_enabled;
} BitmapAction;

static void add_node(const char *name, GPtrArray *nodes)
{
    BlockNode *node = block_node_find(name);

    if (node) {
        g_ptr_array_add(nodes, node);
    }
}

/* --- add --- */

static void add_nodes(const void *args, GPtrArray *nodes)
{
    add_node(((const BlockDirtyBitmapAdd *)args)->node, nodes);
}

static bool check_persistent(const BlockNode *node, const char *name, uint32_t granularity,
                             GError **errp)
{
    if (!node->driver->bitmaps) {
        return tm_error_set(errp, "Can't store persistent bitmaps to %s: Operation not supported",
                            node->name);
    }
    return node->driver->bitmaps->can_store(node, name, granularity, errp);
}

/* In QEMU's order. */
static bool check_add(const BlockDirtyBitmapAdd *args, BlockNode **node, uint32_t *granularity,
                      GError **errp)
{
    if (!args->name[0]) {
        return tm_error_set(errp, "Bitmap name cannot be empty");
    }
    *node = block_node_lookup(args->node, errp);
    if (!*node) {
        return false;
    }
    *granularity =
        args->has_granularity ? args->granularity : block_node_default_granularity(*node);
    if (!block_bitmap_check_granularity(*granularity, errp)) {
        return false;
    }
    return !(args->has_persistent && args->persistent) ||
           check_persistent(*node, args->name, *granularity, errp);
}

static bool co_add_prepare(Action *action, JobTxn *group, GError **errp)
{
    const BlockDirtyBitmapAdd *args = action->args;
    BitmapAction *add = (BitmapAction *)action;
    uint32_t granularity = 0;

    if (!check_add(args, &add->node, &granularity, errp)) {
        return false;
    }
    add->bitmap = block_node_bitmap_add(add->node, args->name, granularity, errp);
    if (!add->bitmap) {
        return false;
    }
    dirty_bitmap_set_persistent(add->bitmap, args->has_persistent && args->persistent);
    if (args->has_disabled && args->disabled) {
        dirty_bitmap_disable(add->bitmap);
    }
    return true;
}

static void co_add_abort(Action *action)
{
    BitmapAction *add = (BitmapAction *)action;

    block_node_bitmap_remove(add->node, add->bitmap);
}

const ActionOps bitmap_add_action = {
    .size = sizeof(BitmapAction),
    .nodes = add_nodes,
    .co_prepare = co_add_prepare,
    .co_abort = co_add_abort,
};

/* --- what names just one bitmap --- */

static void bitmap_nodes(const void *args, GPtrArray *nodes)
{
    add_node(((const BlockDirtyBitmap *)args)->node, nodes);
}

static bool find_bitmap(BitmapAction *action, unsigned refused, GError **errp)
{
    const BlockDirtyBitmap *args = action->action.args;

    action->bitmap = block_bitmap_lookup(args->node, args->name, &action->node, errp);
    return action->bitmap && dirty_bitmap_check(action->bitmap, refused, errp);
}

/* --- remove --- */

static bool co_remove_stored(BlockNode *node, const DirtyBitmap *bitmap, GError **errp)
{
    bool ok;

    co_move(node->loop);
    ok = node->driver->bitmaps->co_remove(node, dirty_bitmap_name(bitmap), errp);
    co_move(control_loop());
    return ok;
}

/*
 * It stays where it is, so that its name is not free, and is kept from later actions.  One that is
 * stored is taken out of the image at once, while there can still be an error; if that is undone,
 * it is as if it had been added anew, and stored when the image is closed.
 */
static bool co_remove_prepare(Action *action, JobTxn *group, GError **errp)
{
    BitmapAction *remove = (BitmapAction *)action;

    if (!find_bitmap(remove, DIRTY_BITMAP_BUSY | DIRTY_BITMAP_RO, errp)) {
        return false;
    }
    if (dirty_bitmap_persistent(remove->bitmap) &&
        !co_remove_stored(remove->node, remove->bitmap, errp)) {
        return false;
    }
    dirty_bitmap_set_busy(remove->bitmap, true);
    return true;
}

static void co_remove_commit(Action *action)
{
    BitmapAction *remove = (BitmapAction *)action;

    block_node_bitmap_remove(remove->node, remove->bitmap);
}

static void co_remove_abort(Action *action)
{
    dirty_bitmap_set_busy(((BitmapAction *)action)->bitmap, false);
}

const ActionOps bitmap_remove_action = {
    .size = sizeof(BitmapAction),
    .nodes = bitmap_nodes,
    .co_prepare = co_remove_prepare,
    .co_commit = co_remove_commit,
    .co_abort = co_remove_abort,
};

/* --- clear --- */

static bool co_clear_prepare(Action *action, JobTxn *group, GError **errp)
{
    BitmapAction *clear = (BitmapAction *)action;

    if (!find_bitmap(clear, DIRTY_BITMAP_DEFAULT, errp)) {
        return false;
    }
    dirty_bitmap_clear_all(clear->bitmap, &clear->undo);
    return true;
}

static void co_undo_drop(Action *action)
{
    sparse_bitmap_free(((BitmapAction *)action)->undo);
}

static void co_undo(Action *action)
{
    BitmapAction *undo = (BitmapAction *)action;

    if (undo->undo) {
        dirty_bitmap_restore(undo->bitmap, undo->undo);
    }
}

const ActionOps bitmap_clear_action = {
    .size = sizeof(BitmapAction),
    .nodes = bitmap_nodes,
    .co_prepare = co_clear_prepare,
    .co_commit = co_undo_drop,
    .co_abort = co_undo,
};

/* --- enable, disable --- */

static void set_enabled(DirtyBitmap *bitmap, bool enabled)
{
    (enabled ? dirty_bitmap_enable : dirty_bitmap_disable)(bitmap);
}

static bool prepare_enabled(Action *action, bool enabled, GError **errp)
{
    BitmapAction *change = (BitmapAction *)action;

    if (!find_bitmap(change, DIRTY_BITMAP_ALLOW_RO, errp)) {
        return false;
    }
    change->was_enabled = dirty_bitmap_enabled(change->bitmap);
    set_enabled(change->bitmap, enabled);
    return true;
}

static bool co_enable_prepare(Action *action, JobTxn *group, GError **errp)
{
    return prepare_enabled(action, true, errp);
}

static bool co_disable_prepare(Action *action, JobTxn *group, GError **errp)
{
    return prepare_enabled(action, false, errp);
}

static void co_enabled_abort(Action *action)
{
    BitmapAction *change = (BitmapAction *)action;

    set_enabled(change->bitmap, change->was_enabled);
}

const ActionOps bitmap_enable_action = {
    .size = sizeof(BitmapAction),
    .nodes = bitmap_nodes,
    .co_prepare = co_enable_prepare,
    .co_abort = co_enabled_abort,
};

const ActionOps bitmap_disable_action = {
    .size = sizeof(BitmapAction),
    .nodes = bitmap_nodes,
    .co_prepare = co_disable_prepare,
    .co_abort = co_enabled_abort,
};

/* --- merge --- */

/* Sources too: their bits are read on loop 0, and must not change meanwhile. */
static void merge_nodes(const void *opaque, GPtrArray *nodes)
{
    const BlockDirtyBitmapMerge *args = opaque;

    add_node(args->node, nodes);
    for (guint i = 0; i < args->bitmaps->len; i++) {
        const BlockDirtyBitmapOrStr *source = args->bitmaps->pdata[i];

        if (source->kind == BLOCK_DIRTY_BITMAP_OR_STR_KIND_EXTERNAL) {
            add_node(source->u.external->node, nodes);
        }
    }
}

static const DirtyBitmap *find_source(const char *node, const BlockDirtyBitmapOrStr *source,
                                      GError **errp)
{
    if (source->kind == BLOCK_DIRTY_BITMAP_OR_STR_KIND_LOCAL) {
        return block_bitmap_lookup(node, source->u.local, NULL, errp);
    }
    return block_bitmap_lookup(source->u.external->node, source->u.external->name, NULL, errp);
}

/* Straight into the target; the bits from before the first source are kept. */
static bool merge_all(BitmapAction *merge, const BlockDirtyBitmapMerge *args, GError **errp)
{
    for (guint i = 0; i < args->bitmaps->len; i++) {
        const DirtyBitmap *source = find_source(args->node, args->bitmaps->pdata[i], errp);

        if (!source ||
            !dirty_bitmap_merge(merge->bitmap, source, merge->undo ? NULL : &merge->undo, errp)) {
            return false;
        }
    }
    return true;
}

static bool co_merge_prepare(Action *action, JobTxn *group, GError **errp)
{
    const BlockDirtyBitmapMerge *args = action->args;
    BitmapAction *merge = (BitmapAction *)action;

    merge->bitmap = block_bitmap_lookup(args->node, args->target, &merge->node, errp);
    if (!merge->bitmap || !dirty_bitmap_check(merge->bitmap, DIRTY_BITMAP_DEFAULT, errp)) {
        return false;
    }
    if (!merge_all(merge, args, errp)) {
        co_undo(action);
        return false;
    }
    return true;
}

const ActionOps bitmap_merge_action = {
    .size = sizeof(BitmapAction),
    .nodes = merge_nodes,
    .co_prepare = co_merge_prepare,
    .co_commit = co_undo_drop,
    .co_abort = co_undo,
};
