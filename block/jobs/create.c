/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The job that makes an image: it runs the driver's co_create, on loop 0. */
#include "block/jobs/create.h"

#include <errno.h>

#include "block/control.h"
#include "block/driver.h"
#include "util/error.h"

typedef struct CreateJob {
    Job job;
    const BlockDriver *driver;
    BlockdevCreateOptions *options;
} CreateJob;

static int co_create_run(Job *job, GError **errp)
{
    CreateJob *c = (CreateJob *)job;

    progress_set_remaining(&job->progress, 1);
    if (!c->driver->image->co_create(c->options, errp)) {
        return -EIO; /* the text says what it was */
    }
    progress_advance(&job->progress, 1);
    return 0;
}

static void co_create_finish(Job *job, bool success)
{
}

static void create_free(Job *job)
{
    BlockdevCreateOptions_free(((CreateJob *)job)->options);
}

static const JobDriver create_driver = {
    .type = JOB_TYPE_CREATE,
    .size = sizeof(CreateJob),
    .co_run = co_create_run,
    .co_finish = co_create_finish,
    .free = create_free,
};

bool block_create_start(const char *id, const BlockdevCreateOptions *options, GError **errp)
{
    const BlockDriver *driver = block_driver_find(options->driver);
    CreateJob *c;

    if (!driver || !driver->image || !driver->image->co_create) {
        return tm_error_set(errp, "Driver does not support blockdev-create");
    }
    c = job_create(&create_driver, id, NULL, true, false, errp);
    if (!c) {
        return false;
    }
    c->driver = driver;
    c->options = BlockdevCreateOptions_copy(options);
    job_start(&c->job, control_loop());
    return true;
}
