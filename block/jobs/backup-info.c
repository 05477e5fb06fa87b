/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a backup tells of staging, the spill file and the guest: in query-jobs, and by events. */
#include <string.h>

#include "block/jobs/backup-int.h"
#include "qmp-schema/qmp-events.h"

/* When the spill file counts as nearly full, in per cent. */
#define NEARLY_FULL 80

void backup_add_info(const Job *job, JobInfo *info)
{
    const BackupJob *b = (const BackupJob *)job;
    BlockCopyUse use;

    if (job->driver != &backup_driver.job || !b->copy) {
        return;
    }
    use = block_copy_use(b->copy);
    info->x_backup = g_new(XBackupInfo, 1);
    *info->x_backup = (XBackupInfo){
        .rate = b->copier ? copier_rate(b->copier) : 0,
        .guest_added_latency = b->copier ? copier_added_ns(b->copier) : 0,
        .staging_used = use.staging_used,
        .staging_size = use.staging_size,
        .staged = use.staged,
        .spill_used = use.spill_used,
        .spill_size = use.spill_size,
    };
}

static void tell_once(BackupJob *b, const BlockCopyUse *use, XBackupSpillReason reason)
{
    XBackupSpillEvent event = {
        .id = b->block.job.id,
        .reason = reason,
        .used = use->spill_used,
        .size = use->spill_size,
        .error = use->spill_error ? (char *)g_strerror(-use->spill_error) : NULL,
    };

    if (!(b->spill_told & 1u << reason)) {
        b->spill_told |= 1u << reason;
        qmp_event_x_backup_spill(&event);
    }
}

void backup_tell_spill(BackupJob *b)
{
    BlockCopyUse use = block_copy_use(b->copy);

    if (use.spill_error) {
        tell_once(b, &use, X_BACKUP_SPILL_REASON_FAILED);
    }
    if (!use.spill_used) {
        return;
    }
    tell_once(b, &use, X_BACKUP_SPILL_REASON_BEGUN);
    if (use.spill_used >= use.spill_size / 100 * NEARLY_FULL) {
        tell_once(b, &use, X_BACKUP_SPILL_REASON_NEARLY_FULL);
    }
    if (use.spill_used >= use.spill_size) {
        tell_once(b, &use, X_BACKUP_SPILL_REASON_FULL);
    }
}
