/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of jobs, their making and their verbs; see job.h. */
#include <errno.h>
#include <string.h>

#include "block/control.h"
#include "block/jobs/job-int.h"
#include "util/error.h"

/* All jobs, the oldest first: their names are the process's.  Loop 0. */
static struct {
    GPtrArray *all;
    CoQueue gone; /* who waits for them to vanish */
} jobs;

Job *job_find(const char *id)
{
    for (unsigned i = 0; jobs.all && i < jobs.all->len; i++) {
        Job *job = jobs.all->pdata[i];

        if (strcmp(job->id, id) == 0) {
            return job;
        }
    }
    return NULL;
}

GPtrArray *job_list(void)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)job_unref);

    for (unsigned i = jobs.all ? jobs.all->len : 0; i > 0; i--) {
        g_ptr_array_add(list, job_ref(jobs.all->pdata[i - 1]));
    }
    return list;
}

/* QEMU's rule of well-formed ids: a letter, then letters, digits, '-', '.', '_'. */
static bool id_is_valid(const char *id)
{
    bool ok = g_ascii_isalpha(id[0]);

    for (const char *c = id; *c && ok; c++) {
        ok = g_ascii_isalnum(*c) || strchr("-._", *c);
    }
    return ok;
}

void *job_create(const JobDriver *driver, const char *id, JobTxn *txn, bool auto_finalize,
                 bool auto_dismiss, GError **errp)
{
    Job *job;

    /* QEMU's default is the name of the device's backend, of which its daemon has none. */
    id = id ? id : "";
    if (!id_is_valid(id)) {
        tm_error_set(errp, "Invalid job ID '%s'", id);
        return NULL;
    }
    if (job_find(id)) {
        tm_error_set(errp, "Job ID '%s' already in use", id);
        return NULL;
    }
    job = g_malloc0(driver->size);
    job->driver = driver;
    job->id = g_strdup(id);
    job->auto_finalize = auto_finalize;
    job->auto_dismiss = auto_dismiss;
    job->refcount = 1;
    job->loop = control_loop();
    pthread_mutex_init(&job->lock, NULL);
    if (!jobs.all) {
        jobs.all = g_ptr_array_new();
    }
    g_ptr_array_add(jobs.all, job);
    txn = txn ? job_txn_ref(txn) : job_txn_new();
    job_txn_add(txn, job);
    job_txn_unref(txn);
    job_set_status(job, JOB_STATUS_CREATED);
    return job;
}

Job *job_ref(Job *job)
{
    job->refcount++;
    return job;
}

void job_unref(Job *job)
{
    if (--job->refcount > 0) {
        return;
    }
    g_assert(job_status(job) == JOB_STATUS_NULL && !job->txn);
    if (job->driver->free) {
        job->driver->free(job);
    }
    pthread_mutex_destroy(&job->lock);
    g_free(job->id);
    g_free(job->error);
    g_free(job);
}

void job_dismiss(Job *job)
{
    g_ptr_array_remove(jobs.all, job);
    job_set_status(job, JOB_STATUS_NULL);
    job_unref(job);
    if (jobs.all->len == 0) {
        g_clear_pointer(&jobs.all, g_ptr_array_unref);
        co_queue_wake_all(&jobs.gone);
    }
}

void job_discard(Job *job)
{
    job_txn_remove(job);
    job_dismiss(job);
}

/* --- verbs --- */

bool job_user_paused(Job *job)
{
    bool paused;

    pthread_mutex_lock(&job->lock);
    paused = job->user_paused;
    pthread_mutex_unlock(&job->lock);
    return paused;
}

/* False if it was paused already. */
static bool set_user_paused(Job *job)
{
    bool done;

    pthread_mutex_lock(&job->lock);
    done = !job->user_paused;
    if (done) {
        job->user_paused = true;
        job->pause_count++;
    }
    pthread_mutex_unlock(&job->lock);
    return done;
}

/* False if it was not paused. */
static bool clear_user_paused(Job *job)
{
    bool done;

    pthread_mutex_lock(&job->lock);
    done = job->user_paused;
    if (done) {
        job->user_paused = false;
        job->pause_count--;
    }
    pthread_mutex_unlock(&job->lock);
    return done;
}

void job_pause_for_error(Job *job)
{
    set_user_paused(job);
}

void job_end_pause(Job *job)
{
    clear_user_paused(job);
}

bool job_user_pause(Job *job, GError **errp)
{
    if (!job_check_verb(job, JOB_VERB_PAUSE, errp)) {
        return false;
    }
    if (!set_user_paused(job)) {
        return tm_error_set(errp, "Job is already paused");
    }
    job_kick(job);
    return true;
}

static void user_resume_hook(Job *job)
{
    if (job->driver->user_resume) {
        job->driver->user_resume(job);
    }
}

bool job_user_resume(Job *job, GError **errp)
{
    if (!job_user_paused(job)) {
        return tm_error_set(errp, "Can't resume a job that was not paused");
    }
    if (!job_check_verb(job, JOB_VERB_RESUME, errp)) {
        return false;
    }
    user_resume_hook(job);
    clear_user_paused(job);
    job_kick(job);
    return true;
}

/* A soft cancel never takes back a hard one. */
void job_cancel_async(Job *job, bool force)
{
    if (job_user_paused(job)) {
        user_resume_hook(job);
        clear_user_paused(job);
    }
    if (!force) {
        force = job->driver->cancel ? job->driver->cancel(job, false) : true;
    } else if (job->driver->cancel) {
        job->driver->cancel(job, true);
    }
    pthread_mutex_lock(&job->lock);
    job->cancelled = true;
    job->force_cancel |= force;
    pthread_mutex_unlock(&job->lock);
    job_kick(job);
}

bool job_user_cancel(Job *job, bool force, GError **errp)
{
    if (!job_check_verb(job, JOB_VERB_CANCEL, errp)) {
        return false;
    }
    job_cancel_async(job, force);
    if (job->completed && job_is_cancelled(job)) {
        job_txn_cancelled(job);
    }
    return true;
}

bool job_user_complete(Job *job, GError **errp)
{
    if (!job_check_verb(job, JOB_VERB_COMPLETE, errp)) {
        return false;
    }
    if (job_cancel_requested(job) || !job->driver->complete) {
        return tm_error_set(errp, "The active block job '%s' cannot be completed", job->id);
    }
    return job->driver->complete(job, errp);
}

bool job_user_dismiss(Job *job, GError **errp)
{
    if (!job_check_verb(job, JOB_VERB_DISMISS, errp)) {
        return false;
    }
    job_dismiss(job);
    return true;
}

bool co_job_user_finalize(Job *job, GError **errp)
{
    if (!job_check_verb(job, JOB_VERB_FINALIZE, errp)) {
        return false;
    }
    co_job_txn_finalize(job->txn);
    return true;
}

JobInfo *job_info(const Job *job)
{
    JobInfo *info = g_new0(JobInfo, 1);

    info->id = g_strdup(job->id);
    info->type = job->driver->type;
    info->status = job_status(job);
    info->current_progress = progress_current(&job->progress);
    info->total_progress = progress_total(&job->progress);
    info->error = g_strdup(job->error);
    return info;
}

/* --- the end of the process --- */

static void cancel_one(Job *job)
{
    JobStatus status = job_status(job);

    job->auto_dismiss = true; /* nobody is left to dismiss it */
    if (status == JOB_STATUS_CONCLUDED) {
        job_dismiss(job);
    } else if (job_may_take(status, JOB_VERB_CANCEL)) {
        job_user_cancel(job, true, NULL);
    }
}

void co_jobs_cancel_all(void)
{
    while (jobs.all) {
        g_autoptr(GPtrArray) list = job_list();

        for (unsigned i = 0; i < list->len; i++) {
            cancel_one(list->pdata[i]);
        }
        if (jobs.all) {
            co_queue_wait(&jobs.gone);
        }
    }
}
