/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The job that checks an image (x-blockdev-check): an addition of tidemarkd.
 *
 * It needs the node for itself: its root edge shares nothing, so that a node in use by an export, a
 * job or another node is refused, and nobody can begin to use it before the check has ended.
 */
#include "block/jobs/create.h"

#include <errno.h>

#include "block/control.h"
#include "block/driver.h"
#include "block/work.h"
#include "qmp-schema/qmp-events.h"
#include "util/error.h"

typedef struct CheckJob {
    Job job;
    BlockNode *node; /* a reference, until the job has finished */
    char *node_name;
    BlockWork *work;
    unsigned fix;
    BlockCheckResult result;
    bool checked; /* result is valid; loop 0 */
} CheckJob;

static bool is_cancelled(void *opaque)
{
    return job_is_cancelled(opaque);
}

static int co_check_on_loop(CheckJob *c)
{
    const BlockImageOps *ops = c->node->driver->image;
    int ret;

    co_block_work_begin(c->work);
    ret = ops->co_check(c->node, c->fix, &c->result, is_cancelled, &c->job);
    co_block_work_end(c->work);
    return ret;
}

static int co_check_run(Job *job, GError **errp)
{
    CheckJob *c = (CheckJob *)job;
    int ret;

    progress_set_remaining(&job->progress, 1);
    co_control_lock();
    ret = co_check_on_loop(c);
    control_unlock();
    if (ret < 0) {
        tm_error_set_errno(errp, -ret, "Checking node '%s' failed", c->node_name);
        return ret;
    }
    progress_advance(&job->progress, 1);
    c->checked = true;
    return 0;
}

static void send_event(const CheckJob *c)
{
    XBlockdevCheckResult result = c->result;
    XBlockdevCheckCompletedEvent event = { .id = c->job.id, .node = c->node_name,
                                           .result = &result };

    qmp_event_x_blockdev_check_completed(&event);
}

static void co_check_finish(Job *job, bool success)
{
    CheckJob *c = (CheckJob *)job;

    co_block_work_free(c->work);
    co_block_node_unref(c->node);
    c->work = NULL;
    c->node = NULL;
    if (success && c->checked) {
        send_event(c);
    }
}

static void check_free(Job *job)
{
    g_free(((CheckJob *)job)->node_name);
}

static const JobDriver check_driver = {
    .type = JOB_TYPE_X_CHECK,
    .size = sizeof(CheckJob),
    .co_run = co_check_run,
    .co_finish = co_check_finish,
    .free = check_free,
};

void block_check_add_info(const Job *job, JobInfo *info)
{
    const CheckJob *c = (const CheckJob *)job;

    if (job->driver == &check_driver && c->checked) {
        info->x_check = g_new(XBlockdevCheckResult, 1);
        *info->x_check = c->result;
    }
}

static unsigned fix_flags(XBlockdevCheckFix fix)
{
    return fix == X_BLOCKDEV_CHECK_FIX_ALL     ? BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS
           : fix == X_BLOCKDEV_CHECK_FIX_LEAKS ? BLOCK_FIX_LEAKS
                                              : 0;
}

static unsigned wanted_perm(unsigned fix)
{
    return BLOCK_PERM_CONSISTENT_READ | (fix ? BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE : 0);
}

/* Takes the node over for the job. */
static bool co_set_up(CheckJob *c, BlockNode *node, GError **errp)
{
    BlockWork *work = block_work_new();

    if (!co_block_work_attach(work, node, wanted_perm(c->fix), 0, errp)) {
        co_block_work_free(work);
        return false;
    }
    c->work = work;
    c->node = block_node_ref(node);
    c->node_name = g_strdup(node->name);
    return true;
}

static bool co_start_check(BlockNode *node, const char *id, unsigned fix, GError **errp)
{
    CheckJob *c;

    if (!node->driver->image || !node->driver->image->co_check) {
        return tm_error_set(errp, "Driver '%s' of node '%s' cannot check images",
                            BlockdevDriver_name(node->driver->id), node->name);
    }
    c = job_create(&check_driver, id, NULL, true, false, errp);
    if (!c) {
        return false;
    }
    c->fix = fix;
    if (!co_set_up(c, node, errp)) {
        job_discard(&c->job);
        return false;
    }
    job_start(&c->job, control_loop());
    return true;
}

bool co_block_check_start(const char *id, const char *node_name, XBlockdevCheckFix fix,
                          GError **errp)
{
    BlockNode *node;
    bool ok;

    co_control_lock();
    node = block_node_lookup(node_name, errp);
    ok = node && co_start_check(node, id, fix_flags(fix), errp);
    control_unlock();
    return ok;
}
