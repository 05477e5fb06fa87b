/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Transactions; see transaction.h. */
#include "monitor/transaction.h"

#include "block/control.h"
#include "block/drain.h"
#include "block/jobs/backup.h"
#include "qmp-schema/qmp-commands.h"
#include "util/error.h"

/* --- abort --- */

static bool co_abort_prepare(Action *action, JobTxn *group, GError **errp)
{
    return tm_error_set(errp, "Transaction aborted using Abort action");
}

static const ActionOps abort_action = {
    .size = sizeof(Action),
    .co_prepare = co_abort_prepare,
};

/* --- blockdev-backup --- */

typedef struct BackupAction {
    Action action;
    BlockJob *job;
} BackupAction;

static void backup_nodes(const void *args, GPtrArray *nodes)
{
    BlockNode *source, *target;

    if (backup_find_nodes(args, &source, &target, NULL)) {
        g_ptr_array_add(nodes, source);
        g_ptr_array_add(nodes, target);
    }
}

static bool co_backup_prepare_action(Action *action, JobTxn *group, GError **errp)
{
    BackupAction *backup = (BackupAction *)action;

    backup->job = co_backup_prepare(action->args, group, errp);
    return backup->job != NULL;
}

static void co_backup_abort(Action *action)
{
    co_job_abort_unstarted(&((BackupAction *)action)->job->job);
}

static void backup_finish(Action *action)
{
    block_job_start(((BackupAction *)action)->job);
}

static const ActionOps backup_action = {
    .size = sizeof(BackupAction),
    .groups = true,
    .nodes = backup_nodes,
    .co_prepare = co_backup_prepare_action,
    .co_abort = co_backup_abort,
    .finish = backup_finish,
};

/* --- the machine --- */

static BlockDrain *co_drain_all(const GPtrArray *actions)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();

    for (guint i = 0; i < actions->len; i++) {
        const Action *action = actions->pdata[i];

        if (action->ops->nodes) {
            action->ops->nodes(action->args, nodes);
        }
    }
    return co_block_drain_begin_many((BlockNode *const *)nodes->pdata, nodes->len);
}

static void co_abort_prepared(const GPtrArray *actions, guint prepared)
{
    while (prepared-- > 0) {
        Action *action = actions->pdata[prepared];

        if (action->ops->co_abort) {
            action->ops->co_abort(action);
        }
    }
}

static bool co_prepare_all(const GPtrArray *actions, JobTxn *group, GError **errp)
{
    for (guint i = 0; i < actions->len; i++) {
        Action *action = actions->pdata[i];

        if (!action->ops->co_prepare(action, group, errp)) {
            co_abort_prepared(actions, i);
            return false;
        }
    }
    return true;
}

static void co_commit_all(const GPtrArray *actions)
{
    for (guint i = 0; i < actions->len; i++) {
        Action *action = actions->pdata[i];

        if (action->ops->co_commit) {
            action->ops->co_commit(action);
        }
    }
}

static void finish_all(const GPtrArray *actions)
{
    for (guint i = 0; i < actions->len; i++) {
        Action *action = actions->pdata[i];

        if (action->ops->finish) {
            action->ops->finish(action);
        }
    }
}

static bool co_before_all(const GPtrArray *actions, GError **errp)
{
    for (guint i = 0; i < actions->len; i++) {
        const Action *action = actions->pdata[i];

        if (action->ops->co_before && !action->ops->co_before(action->args, errp)) {
            return false;
        }
    }
    return true;
}

static bool co_run(const GPtrArray *actions, JobTxn *group, GError **errp)
{
    BlockDrain *drain;
    bool ok;

    if (!co_before_all(actions, errp)) {
        return false;
    }
    co_control_lock();
    drain = co_drain_all(actions);
    ok = co_prepare_all(actions, group, errp);
    if (ok) {
        co_commit_all(actions);
    }
    co_block_drain_end(drain);
    if (ok) {
        finish_all(actions);
    }
    control_unlock();
    return ok;
}

static void add_action(GPtrArray *actions, const ActionOps *ops, const void *args)
{
    Action *action = g_malloc0(ops->size);

    action->ops = ops;
    action->args = args;
    g_ptr_array_add(actions, action);
}

bool co_transaction_one(const ActionOps *ops, const void *args, GError **errp)
{
    g_autoptr(GPtrArray) actions = g_ptr_array_new_with_free_func(g_free);

    add_action(actions, ops, args);
    return co_run(actions, NULL, errp);
}

/* --- the command --- */

static void add_user_action(GPtrArray *actions, const TransactionAction *from)
{
    switch (from->type) {
    case TRANSACTION_ACTION_KIND_ABORT:
        add_action(actions, &abort_action, from->u.abort.data);
        break;
    case TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ADD:
        add_action(actions, &bitmap_add_action, from->u.block_dirty_bitmap_add.data);
        break;
    case TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_REMOVE:
        add_action(actions, &bitmap_remove_action, from->u.block_dirty_bitmap_remove.data);
        break;
    case TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_CLEAR:
        add_action(actions, &bitmap_clear_action, from->u.block_dirty_bitmap_clear.data);
        break;
    case TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ENABLE:
        add_action(actions, &bitmap_enable_action, from->u.block_dirty_bitmap_enable.data);
        break;
    case TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_DISABLE:
        add_action(actions, &bitmap_disable_action, from->u.block_dirty_bitmap_disable.data);
        break;
    case TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_MERGE:
        add_action(actions, &bitmap_merge_action, from->u.block_dirty_bitmap_merge.data);
        break;
    case TRANSACTION_ACTION_KIND_BLOCKDEV_BACKUP:
        add_action(actions, &backup_action, from->u.blockdev_backup.data);
        break;
    case TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT:
        add_action(actions, &snapshot_action, from->u.blockdev_snapshot.data);
        break;
    case TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_SYNC:
        add_action(actions, &snapshot_sync_action, from->u.blockdev_snapshot_sync.data);
        break;
    case TRANSACTION_ACTION_KIND__MAX:
        g_assert_not_reached();
    }
}

static bool check_grouped(const GPtrArray *from, const GPtrArray *actions, GError **errp)
{
    for (guint i = 0; i < actions->len; i++) {
        const TransactionAction *user = from->pdata[i];

        if (!((Action *)actions->pdata[i])->ops->groups) {
            return tm_error_set(errp,
                                "Action '%s' does not support transaction property "
                                "completion-mode = grouped",
                                TransactionActionKind_name(user->type));
        }
    }
    return true;
}

static bool is_grouped(const TransactionProperties *properties)
{
    return properties && properties->has_completion_mode &&
           properties->completion_mode == ACTION_COMPLETION_MODE_GROUPED;
}

bool qmp_transaction(const TransactionArgs *args, GError **errp)
{
    g_autoptr(GPtrArray) actions = g_ptr_array_new_with_free_func(g_free);
    JobTxn *group = NULL;
    bool ok;

    for (guint i = 0; i < args->actions->len; i++) {
        add_user_action(actions, args->actions->pdata[i]);
    }
    if (is_grouped(args->properties)) {
        if (!check_grouped(args->actions, actions, errp)) {
            return false;
        }
        group = job_txn_new();
    }
    ok = co_run(actions, group, errp);
    job_txn_unref(group);
    return ok;
}
