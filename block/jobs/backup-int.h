/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the files of the backup job, and by nobody else. */
#ifndef BLOCK_JOBS_BACKUP_INT_H
#define BLOCK_JOBS_BACKUP_INT_H

#include "block/copy/copier.h"
#include "block/copy/leaver.h"
#include "block/jobs/backup.h"

typedef struct BackupJob {
    BlockJob block;
    BlockNode *source; /* kept by the filter's edge */
    BlockNode *filter; /* a reference */
    BlockCopy *copy;   /* the filter's */
    Copier *copier;    /* NULL with sync=none: only what is about to be overwritten is copied */
    Leaver *leaver;    /* the filter's, with sync=none; or NULL */
    DirtyBitmap *bitmap; /* frozen, with a successor; or NULL */
    BitmapSyncMode bitmap_mode;
    BlockdevOnError on_source_error, on_target_error;

    bool lost_told;          /* the policy was asked about lost blocks */
    bool durable;            /* what reached the target was flushed */
    int64_t saved_seen;      /* of block_copy_saved_bytes(): is in the progress */
    int64_t progress_at_error; /* at the last ignored error; -1: none */
} BackupJob;

extern const BlockJobDriver backup_driver;

/* For the copier and the copy: something changed. */
void backup_notify(void *opaque);

#endif
