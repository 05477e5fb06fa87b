/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Push backups (blockdev-backup): a copy of a disk at one instant, to another node.
 *
 * The instant is that of a drained section of the caller's, which can hold several disks: in it
 * co_backup_prepare() freezes the bitmap and puts the filter above the source.
 */
#ifndef BLOCK_JOBS_BACKUP_H
#define BLOCK_JOBS_BACKUP_H

#include "block/jobs/block-job.h"

/* The node to be copied and the one that gets the copy; errors with QEMU's words. */
bool backup_find_nodes(const BlockdevBackup *args, BlockNode **source, BlockNode **target,
                       GError **errp);

/*
 * All checks and the set-up; QEMU's words.  Control lock held, and the source's graph drained.  The
 * caller starts the job with block_job_start() after the end of the drained section, or undoes it
 * with co_job_abort_unstarted() in it.  @txn NULL: a transaction of its own.
 */
BlockJob *co_backup_prepare(const BlockdevBackup *args, JobTxn *txn, GError **errp);

/* Member x-backup of query-jobs, where the job is a backup. */
void backup_add_info(const Job *job, JobInfo *info);

/* The whole of the command. Takes the control lock. */
bool co_backup_start(const BlockdevBackup *args, GError **errp);

#endif
