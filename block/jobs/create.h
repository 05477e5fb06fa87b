/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Jobs on images as files: blockdev-create and x-blockdev-check. */
#ifndef BLOCK_JOBS_CREATE_H
#define BLOCK_JOBS_CREATE_H

#include "block/jobs/job.h"

/* Starts a job of type "create".  Loop 0. */
bool block_create_start(const char *id, const BlockdevCreateOptions *options, GError **errp);

/*
 * Starts a job of type "x-check" on a node that nobody else uses.  Loop 0, control lock not held;
 * may yield.
 */
bool co_block_check_start(const char *id, const char *node, XBlockdevCheckFix fix, GError **errp);

/* Adds to a job's info what a check has found. */
void block_check_add_info(const Job *job, JobInfo *info);

#endif
