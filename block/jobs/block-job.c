/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Jobs that work on block nodes; see block-job.h.  Error policies and events are in block-job-
 * error.c.
 */
#include "block/jobs/block-job.h"

#include "util/error.h"

static const BlockJobDriver *driver_of(const BlockJob *job)
{
    return (const BlockJobDriver *)job->job.driver;
}

/* --- as a user of nodes --- */

static void on_drained_begin(void *opaque)
{
    BlockJob *job = opaque;

    job_set_drained(&job->job, true);
    if (driver_of(job)->drained) {
        driver_of(job)->drained(job, true);
    }
}

static bool on_drained_poll(void *opaque)
{
    BlockJob *job = opaque;

    return job_busy(&job->job) ||
           (driver_of(job)->drained_poll && driver_of(job)->drained_poll(job));
}

static void on_drained_end(void *opaque)
{
    BlockJob *job = opaque;

    if (driver_of(job)->drained) {
        driver_of(job)->drained(job, false);
    }
    job_set_drained(&job->job, false);
}

static void on_co_attach(void *opaque, Loop *loop)
{
    BlockJob *job = opaque;

    job_set_loop(&job->job, loop);
}

static char *describe(void *opaque)
{
    BlockJob *job = opaque;

    return g_strdup_printf("%s job '%s'", JobType_name(job->job.driver->type), job->job.id);
}

/* Copiers: they pause after the requests of exports have ended, which may wait for them. */
static const BlockUserOps user_ops = {
    .drain_order = 1,
    .drained_begin = on_drained_begin,
    .drained_poll = on_drained_poll,
    .drained_end = on_drained_end,
    .co_attach = on_co_attach,
    .describe = describe,
};

void block_job_quiescent(Job *job)
{
    BlockJob *block_job = (BlockJob *)job;

    if (block_job->user) {
        block_user_drain_progress(block_job->user);
    }
}

bool block_job_owns_edge(BlockChild *edge, void *unused)
{
    return edge->user && edge->user->ops == &user_ops;
}

static bool check_not_by_job(BlockChild *edge, GError **errp)
{
    const BlockJob *job;

    if (!block_job_owns_edge(edge, NULL)) {
        return true;
    }
    job = edge->user->opaque;
    return tm_error_set(errp, "Node '%s' is busy: block device is in use by block job: %s",
                        edge->node->name, JobType_name(job->job.driver->type));
}

static bool check_not_backing(const BlockChild *edge, GError **errp)
{
    return !edge->parent || !(edge->role & BLOCK_ROLE_COW) ||
           tm_error_set(errp, "Node '%s' is busy: node is used as backing hd of '%s'",
                        edge->node->name, edge->parent->name);
}

bool block_job_check_node_free(const BlockNode *node, GError **errp)
{
    for (unsigned i = node->parents->len; i-- > 0;) {
        if (!check_not_by_job(node->parents->pdata[i], errp)) {
            return false;
        }
    }
    return true;
}

bool block_job_check_node_unused(const BlockNode *node, GError **errp)
{
    for (unsigned i = node->parents->len; i-- > 0;) {
        BlockChild *edge = node->parents->pdata[i];

        if (!check_not_by_job(edge, errp) || !check_not_backing(edge, errp)) {
            return false;
        }
    }
    return true;
}

/* --- life --- */

static bool check_speed(int64_t speed, GError **errp)
{
    return speed >= 0 ||
           tm_error_set(errp, "Parameter 'speed' expects a non-negative value");
}

static void apply_speed(BlockJob *job, int64_t speed)
{
    rate_limit_set_speed(&job->limit, speed);
    job->speed = speed;
    job->speed_changed = true;
}

void *block_job_create(const BlockJobDriver *driver, const char *id, JobTxn *txn, int64_t speed,
                       bool auto_finalize, bool auto_dismiss, GError **errp)
{
    BlockJob *job = job_create(&driver->job, id, txn, auto_finalize, auto_dismiss, errp);

    if (!job) {
        return NULL;
    }
    job->io_status = BLOCK_DEVICE_IO_STATUS_OK;
    if (!check_speed(speed, errp)) {
        job_discard(&job->job);
        return NULL;
    }
    apply_speed(job, speed);
    job->user = block_user_new(&user_ops, job);
    return job;
}

bool co_block_job_add_node(BlockJob *job, BlockNode *node, const char *name, GError **errp)
{
    return co_block_user_attach(job->user, node, name, 0, 0, BLOCK_PERM_ALL, errp) != NULL;
}

void co_block_job_drop_nodes(BlockJob *job)
{
    BlockUser *user = job->user;

    job->user = NULL;
    co_block_user_free(user);
}

void block_job_start(BlockJob *job)
{
    job_start(&job->job, block_user_loop(job->user));
}

/* A limit that is taken away or raised ends the wait that the old one asked for. */
bool block_job_set_speed(BlockJob *job, int64_t speed, GError **errp)
{
    if (!job_check_verb(&job->job, JOB_VERB_SET_SPEED, errp) || !check_speed(speed, errp)) {
        return false;
    }
    apply_speed(job, speed);
    job_kick(&job->job);
    return true;
}

BlockJobInfo *block_job_info(BlockJob *block_job)
{
    Job *job = &block_job->job;
    BlockJobInfo *info = g_new0(BlockJobInfo, 1);

    info->type = job->driver->type;
    info->device = g_strdup(job->id);
    info->len = progress_total(&job->progress);
    info->offset = progress_current(&job->progress);
    info->busy = job_busy(job);
    info->paused = job_user_paused(job);
    info->speed = block_job->speed;
    info->io_status = (BlockDeviceIoStatus)block_job->io_status;
    info->ready = job_is_ready(job);
    info->status = job_status(job);
    info->auto_finalize = job->auto_finalize;
    info->auto_dismiss = job->auto_dismiss;
    info->error = g_strdup(job->error);
    return info;
}

/* Known by the hooks that all drivers of block jobs have. */
BlockJob *block_job_of(Job *job)
{
    return job && job->driver->news == block_job_news ? (BlockJob *)job : NULL;
}

BlockJob *block_job_lookup(const char *id, GError **errp)
{
    BlockJob *job = block_job_of(job_find(id));

    if (!job) {
        tm_error_set_class(errp, TM_ERROR_DEVICE_NOT_ACTIVE, "Block job '%s' not found", id);
    }
    return job;
}
