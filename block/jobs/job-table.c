/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a job may become, and which verbs it takes, as two tables.  The rules are QEMU's (job.c and
 * qapi/job.json say what each state and verb is for).
 */
#include "block/jobs/job.h"
#include "qmp-schema/qmp-events.h"
#include "util/error.h"

#define BIT(state) (1u << JOB_STATUS_##state)

static const unsigned may_become[JOB_STATUS__MAX] = {
    [JOB_STATUS_UNDEFINED] = BIT(CREATED),
    [JOB_STATUS_CREATED] = BIT(RUNNING) | BIT(ABORTING) | BIT(NULL),
    [JOB_STATUS_RUNNING] = BIT(PAUSED) | BIT(READY) | BIT(WAITING) | BIT(ABORTING),
    [JOB_STATUS_PAUSED] = BIT(RUNNING),
    [JOB_STATUS_READY] = BIT(STANDBY) | BIT(WAITING) | BIT(ABORTING),
    [JOB_STATUS_STANDBY] = BIT(READY),
    [JOB_STATUS_WAITING] = BIT(PENDING) | BIT(ABORTING),
    [JOB_STATUS_PENDING] = BIT(ABORTING) | BIT(CONCLUDED),
    [JOB_STATUS_ABORTING] = BIT(ABORTING) | BIT(CONCLUDED),
    [JOB_STATUS_CONCLUDED] = BIT(NULL),
    [JOB_STATUS_NULL] = 0,
};

#define AT_WORK (BIT(CREATED) | BIT(RUNNING) | BIT(PAUSED) | BIT(READY) | BIT(STANDBY))

static const unsigned takes[JOB_VERB__MAX] = {
    [JOB_VERB_CANCEL] = AT_WORK | BIT(WAITING) | BIT(PENDING),
    [JOB_VERB_PAUSE] = AT_WORK,
    [JOB_VERB_RESUME] = AT_WORK,
    [JOB_VERB_SET_SPEED] = AT_WORK,
    [JOB_VERB_CHANGE] = AT_WORK,
    [JOB_VERB_COMPLETE] = BIT(READY),
    [JOB_VERB_FINALIZE] = BIT(PENDING),
    [JOB_VERB_DISMISS] = BIT(CONCLUDED),
};

JobStatus job_status(const Job *job)
{
    return (JobStatus)job->status;
}

bool job_may_become(JobStatus from, JobStatus to)
{
    return may_become[from] & (1u << to);
}

bool job_may_take(JobStatus status, JobVerb verb)
{
    return takes[verb] & (1u << status);
}

bool job_check_verb(const Job *job, JobVerb verb, GError **errp)
{
    JobStatus status = job_status(job);

    if (job_may_take(status, verb)) {
        return true;
    }
    return tm_error_set(errp, "Job '%s' in state '%s' cannot accept command verb '%s'", job->id,
                        JobStatus_name(status), JobVerb_name(verb));
}

void job_set_status(Job *job, JobStatus status)
{
    JobStatus from = job_status(job);
    JobStatusChangeEvent event = { .id = job->id, .status = status };

    g_assert(job_may_become(from, status));
    job->status = status;
    if (from != status) {
        qmp_event_job_status_change(&event);
    }
}

bool job_is_ready(const Job *job)
{
    JobStatus status = job_status(job);

    return status == JOB_STATUS_READY || status == JOB_STATUS_STANDBY;
}
