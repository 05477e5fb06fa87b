/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What block jobs do about failed requests, and the events that they send. */
#include <errno.h>

#include "block/jobs/block-job.h"
#include "qmp-schema/qmp-events.h"

static BlockErrorAction action_for(BlockdevOnError on_error, int error)
{
    switch (on_error) {
    case BLOCKDEV_ON_ERROR_ENOSPC:
    case BLOCKDEV_ON_ERROR_AUTO:
        return error == ENOSPC ? BLOCK_ERROR_ACTION_STOP : BLOCK_ERROR_ACTION_REPORT;
    case BLOCKDEV_ON_ERROR_STOP:
        return BLOCK_ERROR_ACTION_STOP;
    case BLOCKDEV_ON_ERROR_IGNORE:
        return BLOCK_ERROR_ACTION_IGNORE;
    default:
        return BLOCK_ERROR_ACTION_REPORT;
    }
}

/* The first error since the last resume is the one that is shown. */
static void note_io_status(BlockJob *job, int error)
{
    if (job->io_status == BLOCK_DEVICE_IO_STATUS_OK) {
        job->io_status = error == ENOSPC ? BLOCK_DEVICE_IO_STATUS_NOSPACE
                                         : BLOCK_DEVICE_IO_STATUS_FAILED;
    }
}

BlockErrorAction block_job_error_action(BlockJob *job, BlockdevOnError on_error, bool is_read,
                                        int error)
{
    BlockErrorAction action = action_for(on_error, error);
    BlockJobErrorEvent event = {
        .device = job->job.id,
        .operation = is_read ? IO_OPERATION_TYPE_READ : IO_OPERATION_TYPE_WRITE,
        .action = action,
    };

    qmp_event_block_job_error(&event);
    if (action == BLOCK_ERROR_ACTION_STOP) {
        job_pause_for_error(&job->job);
        note_io_status(job, error);
    }
    return action;
}

void block_job_user_resume(Job *job)
{
    ((BlockJob *)job)->io_status = BLOCK_DEVICE_IO_STATUS_OK;
}

static void send_completed(const BlockJob *job)
{
    BlockJobCompletedEvent event = {
        .type = job->job.driver->type,
        .device = job->job.id,
        .len = progress_total(&job->job.progress),
        .offset = progress_current(&job->job.progress),
        .speed = job->speed,
        .error = job->job.error,
    };

    qmp_event_block_job_completed(&event);
}

static void send_cancelled(const BlockJob *job)
{
    BlockJobCancelledEvent event = {
        .type = job->job.driver->type,
        .device = job->job.id,
        .len = progress_total(&job->job.progress),
        .offset = progress_current(&job->job.progress),
        .speed = job->speed,
    };

    qmp_event_block_job_cancelled(&event);
}

static void send_ready(const BlockJob *job)
{
    BlockJobReadyEvent event = {
        .type = job->job.driver->type,
        .device = job->job.id,
        .len = progress_total(&job->job.progress),
        .offset = progress_current(&job->job.progress),
        .speed = job->speed,
    };

    qmp_event_block_job_ready(&event);
}

void block_job_news(Job *job, JobNews news)
{
    BlockJobPendingEvent pending = { .type = job->driver->type, .id = job->id };

    switch (news) {
    case JOB_NEWS_READY:
        send_ready((BlockJob *)job);
        break;
    case JOB_NEWS_PENDING:
        qmp_event_block_job_pending(&pending);
        break;
    case JOB_NEWS_COMPLETED:
        send_completed((BlockJob *)job);
        break;
    case JOB_NEWS_CANCELLED:
        send_cancelled((BlockJob *)job);
        break;
    }
}
