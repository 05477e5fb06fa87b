/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The coroutine of a job: how it starts, waits, pauses, and comes back to loop 0. */
#include "block/control.h"
#include "block/jobs/job-int.h"

/* --- what other threads see and say --- */

void job_kick(Job *job)
{
    Co *co;

    pthread_mutex_lock(&job->lock);
    co = job->waiting;
    job->waiting = NULL;
    job->kicked = !co;
    pthread_mutex_unlock(&job->lock);
    if (co) {
        co_wake(co);
    }
}

bool job_is_cancelled(Job *job)
{
    bool cancelled;

    pthread_mutex_lock(&job->lock);
    cancelled = job->cancelled && job->force_cancel;
    pthread_mutex_unlock(&job->lock);
    return cancelled;
}

bool job_cancel_requested(Job *job)
{
    bool cancelled;

    pthread_mutex_lock(&job->lock);
    cancelled = job->cancelled;
    pthread_mutex_unlock(&job->lock);
    return cancelled;
}

bool job_pause_wanted(Job *job)
{
    bool wanted;

    pthread_mutex_lock(&job->lock);
    wanted = job->pause_count > 0 && !job->cancelled;
    pthread_mutex_unlock(&job->lock);
    return wanted;
}

bool job_busy(Job *job)
{
    bool busy;

    pthread_mutex_lock(&job->lock);
    busy = job->busy && !job->deferred;
    pthread_mutex_unlock(&job->lock);
    return busy;
}

void job_set_drained(Job *job, bool drained)
{
    pthread_mutex_lock(&job->lock);
    job->drained = drained;
    pthread_mutex_unlock(&job->lock);
    job_kick(job);
}

void job_set_loop(Job *job, Loop *loop)
{
    pthread_mutex_lock(&job->lock);
    job->loop = loop;
    pthread_mutex_unlock(&job->lock);
    job_kick(job);
}

/* --- waiting --- */

static void on_timer(void *opaque)
{
    job_kick(opaque);
}

static void co_wait_kick(Job *job, int64_t deadline_ns)
{
    LoopTimer timer;
    bool kicked;

    pthread_mutex_lock(&job->lock);
    kicked = job->kicked;
    job->kicked = false;
    job->waiting = kicked ? NULL : co_self();
    pthread_mutex_unlock(&job->lock);
    if (kicked) {
        return;
    }
    loop_timer_init(&timer, on_timer, job);
    if (deadline_ns != INT64_MAX) {
        loop_timer_set(&timer, deadline_ns);
    }
    co_yield();
    loop_timer_cancel(&timer);
}

static void set_busy(Job *job, bool busy)
{
    pthread_mutex_lock(&job->lock);
    job->busy = busy;
    pthread_mutex_unlock(&job->lock);
    if (!busy && job->driver->quiescent) {
        job->driver->quiescent(job);
    }
}

/* Where the coroutine belongs now, and whether it may go on there; if so it counts as busy. */
static bool try_go_on(Job *job, Loop **loop)
{
    bool may;

    pthread_mutex_lock(&job->lock);
    *loop = job->loop;
    may = !job->drained && job->loop == loop_current();
    if (may) {
        job->busy = true;
    }
    pthread_mutex_unlock(&job->lock);
    return may;
}

/*
 * The graph may be moved while it is drained: follow it, and wait for the end of the drained
 * section there.
 */
static void co_go_on(Job *job)
{
    Loop *loop;

    while (!try_go_on(job, &loop)) {
        if (loop != loop_current()) {
            co_move(loop);
        } else {
            co_wait_kick(job, INT64_MAX);
        }
    }
}

void co_job_wait(Job *job, int64_t deadline_ns)
{
    set_busy(job, false);
    co_wait_kick(job, deadline_ns);
    co_go_on(job);
}

void co_job_pause_point(Job *job)
{
    JobStatus was = job_status(job);

    if (!job_pause_wanted(job)) {
        return;
    }
    job_set_status(job, was == JOB_STATUS_READY ? JOB_STATUS_STANDBY : JOB_STATUS_PAUSED);
    while (job_pause_wanted(job)) {
        co_job_wait(job, INT64_MAX);
    }
    job_set_status(job, was);
}

void co_job_sleep(Job *job, int64_t ns)
{
    if (!job_is_cancelled(job)) {
        co_job_wait(job, loop_now_ns() + ns);
        co_job_pause_point(job);
    }
}

void job_set_ready(Job *job)
{
    job_set_status(job, JOB_STATUS_READY);
    job_news(job, JOB_NEWS_READY);
}

/* --- from start to end --- */

static void set_deferred(Job *job)
{
    pthread_mutex_lock(&job->lock);
    job->deferred = true;
    pthread_mutex_unlock(&job->lock);
    set_busy(job, false);
}

static void co_job_main(void *opaque)
{
    Job *job = opaque;
    g_autoptr(GError) error = NULL;

    co_go_on(job);
    co_job_pause_point(job);
    job->ret = job->driver->co_run(job, &error);
    set_deferred(job);
    co_move(control_loop());
    job->error = error ? g_strdup(error->message) : NULL;
    co_job_completed(job);
    job_unref(job);
}

void job_start(Job *job, Loop *loop)
{
    g_assert(!job->started);
    job->started = true;
    pthread_mutex_lock(&job->lock);
    job->loop = loop;
    pthread_mutex_unlock(&job->lock);
    job_set_status(job, JOB_STATUS_RUNNING);
    co_start_on(loop, co_job_main, job_ref(job));
}
