/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Transactions of jobs, and the steps after a job's work.  All on loop 0.
 *
 * When all jobs of a transaction have ended: if one failed or was cancelled all are undone, else
 * they become pending together, prepare together, and are committed.  A job by itself is a
 * transaction of one.
 */
#include <errno.h>

#include "block/control.h"
#include "block/jobs/job-int.h"

struct JobTxn {
    unsigned refcount;
    bool aborting;   /* a job failed: the others are being cancelled */
    bool finalizing; /* the last step is under way */
    GPtrArray *jobs; /* of Job, a reference each; the oldest first */
};

JobTxn *job_txn_new(void)
{
    JobTxn *txn = g_new0(JobTxn, 1);

    txn->refcount = 1;
    txn->jobs = g_ptr_array_new();
    return txn;
}

JobTxn *job_txn_ref(JobTxn *txn)
{
    txn->refcount++;
    return txn;
}

void job_txn_unref(JobTxn *txn)
{
    if (txn && --txn->refcount == 0) {
        g_ptr_array_free(txn->jobs, true);
        g_free(txn);
    }
}

void job_txn_add(JobTxn *txn, Job *job)
{
    job->txn = job_txn_ref(txn);
    g_ptr_array_add(txn->jobs, job);
}

void job_txn_remove(Job *job)
{
    JobTxn *txn = job->txn;

    g_ptr_array_remove(txn->jobs, job);
    job->txn = NULL;
    job_txn_unref(txn);
}

/* --- one job --- */

/* A hard cancel makes a job that ended well a cancelled one. */
static void settle_result(Job *job)
{
    if (job->ret == 0 && job_is_cancelled(job)) {
        job->ret = -ECANCELED;
    }
    if (job->ret < 0) {
        if (!job->error) {
            job->error = g_strdup(g_strerror(-job->ret));
        }
        if (job_status(job) != JOB_STATUS_ABORTING) {
            job_set_status(job, JOB_STATUS_ABORTING);
        }
    }
}

static void co_finish_job(Job *job)
{
    job->driver->co_finish(job, job->ret == 0);
    if (job->started) {
        bool cancelled = job->ret < 0 && job_is_cancelled(job);

        job_news(job, cancelled ? JOB_NEWS_CANCELLED : JOB_NEWS_COMPLETED);
    }
    job_txn_remove(job);
    job_set_status(job, JOB_STATUS_CONCLUDED);
    if (job->auto_dismiss || !job->started) {
        job_dismiss(job);
    }
}

void co_job_abort_unstarted(Job *job)
{
    g_assert(control_locked_by_me() && !job->started);
    job->ret = -ECANCELED;
    job->completed = true;
    settle_result(job);
    co_finish_job(job);
}

/* --- the transaction --- */

static Job *newest(const JobTxn *txn)
{
    return txn->jobs->pdata[txn->jobs->len - 1];
}

static bool all_completed(const JobTxn *txn)
{
    for (unsigned i = 0; i < txn->jobs->len; i++) {
        if (!((Job *)txn->jobs->pdata[i])->completed) {
            return false;
        }
    }
    return true;
}

/* Control lock held. */
static void co_finish_all(JobTxn *txn)
{
    while (txn->jobs->len) {
        co_finish_job(newest(txn));
    }
}

/* All have ended: those that ended well are cancelled ones now. */
static void abort_all(JobTxn *txn)
{
    for (unsigned i = txn->jobs->len; i > 0; i--) {
        Job *job = txn->jobs->pdata[i - 1];

        if (job->ret == 0) {
            job_cancel_async(job, true);
        }
        settle_result(job);
    }
}

static void co_abort(JobTxn *txn)
{
    if (txn->finalizing) {
        return;
    }
    txn->finalizing = true;
    abort_all(txn);
    co_control_lock();
    co_finish_all(txn);
    control_unlock();
}

/* A cancel may have come while we waited for the control lock, or for the jobs before. */
static bool co_prepare_all(JobTxn *txn)
{
    bool ok = true;

    for (unsigned i = txn->jobs->len; ok && i > 0; i--) {
        Job *job = txn->jobs->pdata[i - 1];
        g_autoptr(GError) error = NULL;

        settle_result(job);
        if (job->ret == 0 && job->driver->co_prepare) {
            job->ret = job->driver->co_prepare(job, &error);
            job->error = error ? g_strdup(error->message) : NULL;
        }
        ok = job->ret == 0;
    }
    return ok;
}

void co_job_txn_finalize(JobTxn *txn)
{
    if (txn->finalizing) {
        return;
    }
    txn->finalizing = true;
    job_txn_ref(txn);
    co_control_lock();
    if (!co_prepare_all(txn)) {
        abort_all(txn);
    }
    co_finish_all(txn);
    control_unlock();
    job_txn_unref(txn);
}

static bool finalizes_itself(const JobTxn *txn)
{
    for (unsigned i = 0; i < txn->jobs->len; i++) {
        if (!((Job *)txn->jobs->pdata[i])->auto_finalize) {
            return false;
        }
    }
    return true;
}

static void co_become_pending(JobTxn *txn)
{
    for (unsigned i = txn->jobs->len; i > 0; i--) {
        Job *job = txn->jobs->pdata[i - 1];

        job_set_status(job, JOB_STATUS_PENDING);
        if (!job->auto_finalize) {
            job_news(job, JOB_NEWS_PENDING);
        }
    }
    if (finalizes_itself(txn)) {
        co_job_txn_finalize(txn);
    }
}

static void cancel_others(JobTxn *txn, const Job *failed)
{
    for (unsigned i = 0; i < txn->jobs->len; i++) {
        Job *job = txn->jobs->pdata[i];

        if (job != failed && !job->completed) {
            job_cancel_async(job, false);
        }
    }
}

void co_job_completed(Job *job)
{
    JobTxn *txn = job_txn_ref(job->txn);

    job->completed = true;
    settle_result(job);
    if (job->ret == 0 && !txn->aborting) {
        job_set_status(job, JOB_STATUS_WAITING);
    } else if (!txn->aborting) {
        txn->aborting = true;
        cancel_others(txn, job);
    }
    if (all_completed(txn)) {
        if (txn->aborting) {
            co_abort(txn);
        } else {
            co_become_pending(txn);
        }
    }
    job_txn_unref(txn);
}

static void co_abort_txn(void *opaque)
{
    JobTxn *txn = opaque;

    co_abort(txn);
    job_txn_unref(txn);
}

/* Cancel does not wait for the control lock. */
void job_txn_cancelled(Job *job)
{
    JobTxn *txn = job->txn;

    if (!txn || txn->aborting || txn->finalizing) {
        return;
    }
    txn->aborting = true;
    cancel_others(txn, job);
    if (all_completed(txn)) {
        co_start(co_abort_txn, job_txn_ref(txn));
    }
}
