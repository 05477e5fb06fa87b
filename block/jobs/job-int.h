/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the files of the job machine, and by nobody else. */
#ifndef BLOCK_JOBS_JOB_INT_H
#define BLOCK_JOBS_JOB_INT_H

#include "block/jobs/job.h"

void job_txn_add(JobTxn *txn, Job *job);
void job_txn_remove(Job *job);

/* The work is over (job->ret): brings the transaction forward.  Loop 0; takes the control lock. */
void co_job_completed(Job *job);

/* The work of the whole transaction is over, and a job of it was cancelled then. */
void job_txn_cancelled(Job *job);

/* Finishes a pending transaction. */
void co_job_txn_finalize(JobTxn *txn);

/* Marks it cancelled and wakes it.  @force: hard, whatever the driver says. */
void job_cancel_async(Job *job, bool force);

/* concluded → null: out of the list. */
void job_dismiss(Job *job);

static inline void job_news(Job *job, JobNews news)
{
    if (job->driver->news) {
        job->driver->news(job, news);
    }
}

#endif
