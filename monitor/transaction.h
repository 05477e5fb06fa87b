/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Transactions: several actions at one instant, all or none.
 *
 * A transaction takes the control lock, drains the graphs of all its actions, prepares each in
 * order (what an action prepares, later ones see), and then commits all, or aborts those that were
 * prepared, the last first; then it releases the graphs, and finishes (jobs start here).
 */
#ifndef MONITOR_TRANSACTION_H
#define MONITOR_TRANSACTION_H

#include "block/jobs/job.h"
#include "block/node.h"
#include "qmp-schema/qmp-types.h"

typedef struct Action Action;

typedef struct ActionOps {
    size_t size; /* of the structure that begins with an Action */
    bool groups; /* can be part of a group of jobs that end together */

    /*
     * Before anything is locked or drained: what takes long and concerns nobody else (making an
     * image).  Not undone.  May be NULL.
     */
    bool (*co_before)(const void *args, GError **errp);
    /* Adds the nodes whose graphs are to be drained to @nodes; what is not found is left out. */
    void (*nodes)(const void *args, GPtrArray *nodes);
    /* Does it, so that it can be undone; on failure nothing has changed. */
    bool (*co_prepare)(Action *action, JobTxn *group, GError **errp);
    /* Each may be NULL. Graphs still drained: */
    void (*co_commit)(Action *action);
    void (*co_abort)(Action *action);
    /* The graphs are released, all has been committed. */
    void (*finish)(Action *action);
} ActionOps;

struct Action {
    const ActionOps *ops;
    const void *args; /* those of the command of the same name */
};

/* The actions; bitmap-actions.c, snapshot-actions.c and transaction.c. */
extern const ActionOps bitmap_add_action, bitmap_remove_action, bitmap_clear_action,
    bitmap_enable_action, bitmap_disable_action, bitmap_merge_action, snapshot_action,
    snapshot_sync_action;

/* One action as a transaction of its own. */
bool co_transaction_one(const ActionOps *ops, const void *args, GError **errp);

#endif
