/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The job machine: long work in the background, with QEMU's states, verbs and transactions.
 *
 * A job's life (qemu/qemu, qapi/job.json): created → running (⇄ paused; ready ⇄ standby) → waiting,
 * till all of its transaction are done → pending, till somebody finalizes → concluded → null; or
 * aborting → concluded → null.
 *
 * Verbs, queries, and all after the end of the work run on loop 0.  The work itself is one
 * coroutine on the loop of the graph that the job works on; it is told of pause, cancel and drain
 * by a kick, and looks at them where it waits.  The steps at the end (co_prepare, co_finish) run on
 * loop 0 under the control lock.  Cancel, pause and queries never wait for that lock.
 */
#ifndef BLOCK_JOBS_JOB_H
#define BLOCK_JOBS_JOB_H

#include <pthread.h>

#include "io/co-lock.h"
#include "qmp-schema/qmp-types.h"
#include "util/progress.h"

typedef struct Job Job;
typedef struct JobTxn JobTxn;

/* What a job's driver tells the world in its own events. */
typedef enum JobNews {
    JOB_NEWS_READY,
    JOB_NEWS_PENDING,
    JOB_NEWS_COMPLETED, /* well or with an error */
    JOB_NEWS_CANCELLED,
} JobNews;

typedef struct JobDriver {
    JobType type;
    size_t size; /* of the structure that begins with a Job */

    /*
     * The work, on job->loop: returns 0 or -errno, and a better text than strerror's in @errp if it
     * has one.  Nothing of it is in flight when it returns.
     */
    int (*co_run)(Job *job, GError **errp);

    /* Loop 0, control lock held. */
    /* Before any job of the transaction is finished: the last chance to fail.  May be NULL. */
    int (*co_prepare)(Job *job, GError **errp);
    /* Commits or undoes, and lets go of the graph.  Also for a job that was never started. */
    void (*co_finish)(Job *job, bool success);

    /* Loop 0, each may be NULL. */
    /*
     * Cancel was asked for: is it a hard one (true, the default), or a job that is ready just
     * completes?
     */
    bool (*cancel)(Job *job, bool force);
    bool (*complete)(Job *job, GError **errp);
    void (*user_resume)(Job *job);
    void (*news)(Job *job, JobNews news);
    void (*free)(Job *job);

    /* The job's loop: job_busy() became false.  May be NULL. */
    void (*quiescent)(Job *job);
} JobDriver;

struct Job {
    const JobDriver *driver;
    char *id;
    JobTxn *txn;
    bool auto_finalize, auto_dismiss;
    _Atomic int status; /* JobStatus; the coroutine writes it while it runs, else loop 0 */
    Progress progress;

    /* Loop 0. */
    unsigned refcount;
    bool started, completed;
    int ret;     /* of the work; set before the coroutine comes to loop 0 */
    char *error; /* text of ret */

    /* Under the lock; any thread.  (It is no GMutex, which ThreadSanitizer cannot follow.) */
    pthread_mutex_t lock;
    Loop *loop; /* of the work */
    unsigned pause_count;
    bool user_paused;
    bool cancelled, force_cancel;
    bool drained;
    bool busy, deferred; /* the work runs and does not wait; it is over */
    bool kicked;
    Co *waiting;
};

/* --- life: loop 0 --- */

/*
 * A job in state "created", in @txn or (NULL) in a transaction of its own.  Errors with QEMU's
 * words.  The caller starts it, or ends it with job_discard() or co_job_abort_unstarted().
 */
void *job_create(const JobDriver *driver, const char *id, JobTxn *txn, bool auto_finalize,
                 bool auto_dismiss, GError **errp);

/* Could not be set up: it vanishes without having aborted. */
void job_discard(Job *job);

/* Rolled back by the transaction that made it.  Control lock held. */
void co_job_abort_unstarted(Job *job);

/* Begins the work on @loop. */
void job_start(Job *job, Loop *loop);

Job *job_ref(Job *job);
void job_unref(Job *job);

/*
 * The jobs whose fates are joined: one fails and all are cancelled; all prepare before any commits.
 */
JobTxn *job_txn_new(void);
JobTxn *job_txn_ref(JobTxn *txn);
void job_txn_unref(JobTxn *txn); /* NULL is accepted */

/* --- what users ask for: loop 0 --- */

Job *job_find(const char *id); /* or NULL */
/* All jobs, the newest first, of Job; the array is the caller's, with a reference to each. */
GPtrArray *job_list(void);

bool job_user_pause(Job *job, GError **errp);
bool job_user_resume(Job *job, GError **errp);
bool job_user_cancel(Job *job, bool force, GError **errp);
bool job_user_complete(Job *job, GError **errp);
bool job_user_dismiss(Job *job, GError **errp);
/* Waits for the control lock, and until the job is concluded. */
bool co_job_user_finalize(Job *job, GError **errp);
bool job_user_paused(Job *job);

JobInfo *job_info(const Job *job);

/* Cancels all jobs and waits until all are gone. */
void co_jobs_cancel_all(void);

/* --- tables (job-table.c) --- */

JobStatus job_status(const Job *job);
bool job_may_become(JobStatus from, JobStatus to);
bool job_may_take(JobStatus status, JobVerb verb);
bool job_check_verb(const Job *job, JobVerb verb, GError **errp); /* QEMU's words */
/* Asserts that it is legal, and sends JOB_STATUS_CHANGE. */
void job_set_status(Job *job, JobStatus status);
bool job_is_ready(const Job *job);

/* --- any thread --- */

void job_kick(Job *job); /* ends the job's wait, or its next one */
bool job_is_cancelled(Job *job);       /* stop now */
bool job_cancel_requested(Job *job);   /* that, or complete as soon as it can be (ready jobs) */
bool job_pause_wanted(Job *job);
bool job_busy(Job *job);               /* the work is at something else than waiting */
/* Stops the job as if the user had paused it: an error with action "stop". */
void job_pause_for_error(Job *job);
/* Ends a pause that has lost its point: the job is about to fail. */
void job_end_pause(Job *job);
void job_set_drained(Job *job, bool drained);
void job_set_loop(Job *job, Loop *loop); /* the graph moved: while drained */

/* --- the job's coroutine --- */

/*
 * Waits for a kick, or until @deadline_ns (loop_now_ns()'s clock; INT64_MAX: none).  Does not
 * return while the job is drained.  May return without reason.  The coroutine can be on another
 * loop after it.
 */
void co_job_wait(Job *job, int64_t deadline_ns);

/* Waits while the job is to pause (and is not cancelled), as "paused" or "standby". */
void co_job_pause_point(Job *job);

/* A sleep that a kick ends; returns at a pause point. */
void co_job_sleep(Job *job, int64_t ns);

/* running → ready, with its event. */
void job_set_ready(Job *job);

#endif
