/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The worker pool; see worker.h. */
#include "io/worker.h"

#include <errno.h>
#include <time.h>

#include "io/co-private.h"
#include "io/loop-private.h"
#include "io/thread.h"

#define MAX_THREADS 32
#define IDLE_S 10 /* a thread that had nothing to do for so long ends */

/* Lies on the stack of the coroutine that waits for it. */
typedef struct Job {
    LoopWork work; /* in the pool's list, then back to the loop */
    Loop *loop;
    Co *co;
    int (*fn)(void *opaque);
    void *opaque;
    int result;
} Job;

/* The one pool of the process. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t wanted; /* there is a job, or the end has come */
    pthread_cond_t ended;  /* a thread has ended */
    LoopWorkList jobs;
    unsigned queued; /* length of jobs */
    unsigned threads, idle;
    bool shutdown;
} pool = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .wanted = PTHREAD_COND_INITIALIZER,
    .ended = PTHREAD_COND_INITIALIZER,
};

/* Waits for a job; NULL when it is time to end.  Called and left with the lock held. */
static LoopWork *next_job(void)
{
    struct timespec until;
    LoopWork *work;
    int ret = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += IDLE_S;
    while (!(work = work_list_pop(&pool.jobs)) && !pool.shutdown && ret != ETIMEDOUT) {
        pool.idle++;
        ret = pthread_cond_timedwait(&pool.wanted, &pool.lock, &until);
        pool.idle--;
    }
    pool.queued -= work != NULL;
    return work;
}

static void *thread_main(void *unused)
{
    LoopWork *work;

    pthread_mutex_lock(&pool.lock);
    while ((work = next_job())) {
        Job *job = work->opaque;

        pthread_mutex_unlock(&pool.lock);
        job->result = job->fn(job->opaque);
        loop_post(job->loop, work); /* runs job_done(); the job is gone from here on */
        pthread_mutex_lock(&pool.lock);
    }
    pool.threads--;
    pthread_cond_broadcast(&pool.ended);
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

static void job_done(void *opaque)
{
    Job *job = opaque;

    co_resume(job->co);
}

/* Queues it and makes sure that some thread will take it; false where there can be none. */
static bool queue_job(Job *job)
{
    bool ok = true;

    pthread_mutex_lock(&pool.lock);
    if (pool.idle <= pool.queued && pool.threads < MAX_THREADS) {
        if (thread_start(NULL, "worker", thread_main, NULL) == 0) {
            pool.threads++;
        }
        ok = pool.threads > 0;
    }
    if (ok) {
        work_list_append(&pool.jobs, &job->work);
        pool.queued++;
        pthread_cond_signal(&pool.wanted);
    }
    pthread_mutex_unlock(&pool.lock);
    return ok;
}

int co_in_worker(int (*fn)(void *opaque), void *opaque)
{
    Job job = {.work = {.fn = job_done, .opaque = &job}, .loop = loop_current(),
               .co = co_self(), .fn = fn, .opaque = opaque};

    if (!queue_job(&job)) {
        return fn(opaque); /* no thread to be had: better slow than not at all */
    }
    co_suspend();
    return job.result;
}

void worker_pool_shutdown(void)
{
    pthread_mutex_lock(&pool.lock);
    g_assert(!pool.jobs.head);
    pool.shutdown = true;
    pthread_cond_broadcast(&pool.wanted);
    while (pool.threads) {
        pthread_cond_wait(&pool.ended, &pool.lock);
    }
    pool.shutdown = false;
    pthread_mutex_unlock(&pool.lock);
}
