/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The commands of jobs: thin handlers above block/jobs/. */
#include "block/jobs/backup.h"
#include "block/jobs/create.h"
#include "qmp-schema/qmp-commands.h"
#include "util/error.h"

static Job *find(const char *id, GError **errp)
{
    Job *job = job_find(id);

    if (!job) {
        tm_error_set(errp, "Job not found");
    }
    return job;
}

/* The commands that begin with block-job have another wording. */
static Job *find_block_job(const char *id, GError **errp)
{
    BlockJob *job = block_job_lookup(id, errp);

    return job ? &job->job : NULL;
}

bool qmp_job_pause(const JobPauseArgs *args, GError **errp)
{
    Job *job = find(args->id, errp);

    return job && job_user_pause(job, errp);
}

bool qmp_job_resume(const JobResumeArgs *args, GError **errp)
{
    Job *job = find(args->id, errp);

    return job && job_user_resume(job, errp);
}

bool qmp_job_cancel(const JobCancelArgs *args, GError **errp)
{
    Job *job = find(args->id, errp);

    return job && job_user_cancel(job, true, errp);
}

bool qmp_job_complete(const JobCompleteArgs *args, GError **errp)
{
    Job *job = find(args->id, errp);

    return job && job_user_complete(job, errp);
}

bool qmp_job_finalize(const JobFinalizeArgs *args, GError **errp)
{
    Job *job = find(args->id, errp);

    return job && co_job_user_finalize(job, errp);
}

bool qmp_job_dismiss(const JobDismissArgs *args, GError **errp)
{
    Job *job = find(args->id, errp);

    return job && job_user_dismiss(job, errp);
}

GPtrArray *qmp_query_jobs(GError **errp)
{
    g_autoptr(GPtrArray) jobs = job_list();
    GPtrArray *infos = g_ptr_array_new_with_free_func((GDestroyNotify)JobInfo_free);

    for (unsigned i = 0; i < jobs->len; i++) {
        JobInfo *info = job_info(jobs->pdata[i]);

        block_check_add_info(jobs->pdata[i], info);
        backup_add_info(jobs->pdata[i], info);
        g_ptr_array_add(infos, info);
    }
    return infos;
}

GPtrArray *qmp_query_block_jobs(GError **errp)
{
    g_autoptr(GPtrArray) jobs = job_list();
    GPtrArray *infos = g_ptr_array_new_with_free_func((GDestroyNotify)BlockJobInfo_free);

    for (unsigned i = 0; i < jobs->len; i++) {
        BlockJob *job = block_job_of(jobs->pdata[i]);

        if (job) {
            g_ptr_array_add(infos, block_job_info(job));
        }
    }
    return infos;
}

bool qmp_block_job_set_speed(const BlockJobSetSpeedArgs *args, GError **errp)
{
    BlockJob *job = block_job_lookup(args->device, errp);

    return job && block_job_set_speed(job, args->speed, errp);
}

bool qmp_block_job_cancel(const BlockJobCancelArgs *args, GError **errp)
{
    Job *job = find_block_job(args->device, errp);
    bool force = args->has_force && args->force;

    if (!job) {
        return false;
    }
    if (job_user_paused(job) && !force) {
        return tm_error_set(errp, "The block job for device '%s' is currently paused",
                            args->device);
    }
    return job_user_cancel(job, force, errp);
}

bool qmp_block_job_pause(const BlockJobPauseArgs *args, GError **errp)
{
    Job *job = find_block_job(args->device, errp);

    return job && job_user_pause(job, errp);
}

bool qmp_block_job_resume(const BlockJobResumeArgs *args, GError **errp)
{
    Job *job = find_block_job(args->device, errp);

    return job && job_user_resume(job, errp);
}

bool qmp_block_job_complete(const BlockJobCompleteArgs *args, GError **errp)
{
    Job *job = find_block_job(args->device, errp);

    return job && job_user_complete(job, errp);
}

bool qmp_block_job_finalize(const BlockJobFinalizeArgs *args, GError **errp)
{
    Job *job = find_block_job(args->id, errp);

    return job && co_job_user_finalize(job, errp);
}

bool qmp_block_job_dismiss(const BlockJobDismissArgs *args, GError **errp)
{
    Job *job = find_block_job(args->id, errp);

    return job && job_user_dismiss(job, errp);
}

bool qmp_blockdev_backup(const BlockdevBackup *args, GError **errp)
{
    return co_backup_start(args, errp);
}
