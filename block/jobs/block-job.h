/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Jobs that work on block nodes: the job machine tied to the graph.  Such a job is a user of its
 * nodes (drain, moves between loops), has a speed, and an error policy for its requests.
 */
#ifndef BLOCK_JOBS_BLOCK_JOB_H
#define BLOCK_JOBS_BLOCK_JOB_H

#include "block/jobs/job.h"
#include "block/user.h"
#include "util/rate-limit.h"

typedef struct BlockJob BlockJob;

typedef struct BlockJobDriver {
    JobDriver job; /* with BLOCK_JOB_DRIVER_HOOKS */
    /*
     * The graph's loop, none may yield: start nothing new, or go on; is something under way besides
     * the job's coroutine?  May be NULL.
     */
    void (*drained)(BlockJob *job, bool drained);
    bool (*drained_poll)(BlockJob *job);
} BlockJobDriver;

#define BLOCK_JOB_DRIVER_HOOKS                                                                    \
    .user_resume = block_job_user_resume, .news = block_job_news,                                 \
    .quiescent = block_job_quiescent

struct BlockJob {
    Job job;
    BlockUser *user;
    RateLimit limit;
    _Atomic int64_t speed;      /* bytes a second, 0: no limit */
    _Atomic bool speed_changed; /* for the job's coroutine to see */
    _Atomic int io_status;      /* BlockDeviceIoStatus */
};

/* As job_create(), with a user of nodes, and a speed (an error if it is negative). */
void *block_job_create(const BlockJobDriver *driver, const char *id, JobTxn *txn, int64_t speed,
                       bool auto_finalize, bool auto_dismiss, GError **errp);

/* Adds a node that the job works on ("main node", "target"); it asks for no permission itself. */
bool co_block_job_add_node(BlockJob *job, BlockNode *node, const char *name, GError **errp);

/* Lets go of all nodes.  Loop 0, control lock held. */
void co_block_job_drop_nodes(BlockJob *job);

/* Begins the work, on the loop of its graph. */
void block_job_start(BlockJob *job);

bool block_job_set_speed(BlockJob *job, int64_t speed, GError **errp);

/*
 * A request failed with @error (positive errno): what is to be done by the policy @on_error (AUTO
 * is REPORT but for ENOSPC, as in QEMU).  Sends BLOCK_JOB_ERROR; with "stop" the job is paused
 * already.  The job's coroutine.
 */
BlockErrorAction block_job_error_action(BlockJob *job, BlockdevOnError on_error, bool is_read,
                                        int error);

BlockJobInfo *block_job_info(BlockJob *job);

/* The job as a block job; NULL where it is none (making or checking an image), or @job is NULL. */
BlockJob *block_job_of(Job *job);

/* The block job of that name, or an error of class DeviceNotActive. */
BlockJob *block_job_lookup(const char *id, GError **errp);

/*
 * Does a job work on the node, so that others may not use it as the source or target of a job or
 * delete it?  "Node 'x' is busy: block device is in use by block job: backup".
 */
bool block_job_check_node_free(const BlockNode *node, GError **errp);

/* The same, and that it is no other node's backing file.  What came last is named, as in QEMU. */
bool block_job_check_node_unused(const BlockNode *node, GError **errp);

/* Is the edge one of a job's?  Such edges stay where they are when filters come and go. */
bool block_job_owns_edge(BlockChild *edge, void *unused);

/* For BLOCK_JOB_DRIVER_HOOKS. */
void block_job_user_resume(Job *job);
void block_job_news(Job *job, JobNews news);
void block_job_quiescent(Job *job);

#endif
