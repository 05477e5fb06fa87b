/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The work of a backup job, and its end.
 *
 * The coroutine only steers: the copier moves the data, and wakes it when there is something to
 * decide. On cancel or failure the copy is turned off first, which lets every guest go on; what is
 * in flight ends; and the filter is removed in the drained section of the job's last step.
 */
#include "block/jobs/backup-int.h"

#include <errno.h>
#include <inttypes.h>

#include "block/graph.h"
#include "block/scratch-dir.h"
#include "util/error.h"

/* Between attempts that fail with "ignore", so that a dead device is not asked all the time. */
#define RETRY_NS (INT64_C(100) * 1000000)

static BackupJob *backup_of(Job *job)
{
    return (BackupJob *)job;
}

static void count_saved(BackupJob *b)
{
    int64_t saved = block_copy_saved_bytes(b->copy);

    progress_advance(&b->block.job.progress, saved - b->saved_seen);
    b->saved_seen = saved;
}

/*
 * The job pumps the copier when it is kicked.  But a save may need the copier to make room even if
 * the job is paused; and a copy that has failed is over even then.
 */
void backup_notify(void *opaque)
{
    BackupJob *b = opaque;
    Job *job = &b->block.job;

    if (!b->copier) {
        count_saved(b);
    } else if (job_pause_wanted(job)) {
        copier_set_paused(b->copier, true);
        copier_pump(b->copier);
    }
    if (block_copy_stopped(b->copy)) {
        job_end_pause(job);
    }
    job_kick(job);
    if (b->block.user) {
        block_user_drain_progress(b->block.user);
    }
}

/* --- waiting --- */

/* As "paused" the copier still makes room for the guest's saves. */
static void co_pause(BackupJob *b)
{
    Job *job = &b->block.job;

    if (!b->copier) {
        co_job_pause_point(job);
        return;
    }
    copier_set_paused(b->copier, true);
    while (job_pause_wanted(job) && copier_copying(b->copier)) {
        co_job_wait(job, INT64_MAX);
    }
    copier_pump(b->copier);
    co_job_pause_point(job);
    copier_set_paused(b->copier, false);
}

static bool must_stop(BackupJob *b)
{
    return job_is_cancelled(&b->block.job) || block_copy_stopped(b->copy);
}

static int co_policy(BackupJob *b, BlockdevOnError on_error, bool is_read, int ret)
{
    Job *job = &b->block.job;
    int64_t now_at = progress_current(&job->progress);

    switch (block_job_error_action(&b->block, on_error, is_read, -ret)) {
    case BLOCK_ERROR_ACTION_REPORT:
        return ret;
    case BLOCK_ERROR_ACTION_STOP:
        co_pause(b);
        return 0;
    default:
        if (now_at == b->progress_at_error) {
            co_job_sleep(job, RETRY_NS);
        }
        b->progress_at_error = now_at;
        return 0;
    }
}

/* --- errors --- */

static int co_handle_copier_error(BackupJob *b)
{
    bool is_read;
    int ret = copier_error(b->copier, &is_read);

    ret = co_policy(b, is_read ? b->on_source_error : b->on_target_error, is_read, ret);
    if (ret == 0) {
        copier_retry(b->copier);
    }
    return ret;
}

/*
 * The guest has overwritten what could not be read (I5): there is nothing to try again.  With
 * "ignore" the backup goes on without it, and its bit stays dirty.
 */
static int co_handle_lost(BackupJob *b)
{
    bool ignore = b->on_source_error == BLOCKDEV_ON_ERROR_IGNORE;
    int ret = block_copy_lost_error(b->copy);

    b->lost_told = true;
    block_job_error_action(&b->block, ignore ? BLOCKDEV_ON_ERROR_IGNORE : BLOCKDEV_ON_ERROR_REPORT,
                           true, -ret);
    return ignore ? 0 : ret;
}

/* --- the work --- */

static bool has_copier_error(const BackupJob *b)
{
    bool is_read;

    return copier_error(b->copier, &is_read) < 0;
}

/* One decision; *done when there is none left. */
static int co_step(BackupJob *b, bool *done)
{
    Job *job = &b->block.job;

    if (block_copy_lost_error(b->copy) && !b->lost_told) {
        return co_handle_lost(b);
    }
    if (has_copier_error(b) && copier_in_flight(b->copier) == 0) {
        return co_handle_copier_error(b);
    }
    if (copier_done(b->copier)) {
        *done = true;
        return 0;
    }
    if (job_pause_wanted(job)) {
        co_pause(b);
        return 0;
    }
    if (atomic_exchange(&b->block.speed_changed, false)) {
        copier_limit_changed(b->copier);
    }
    copier_pump(b->copier);
    co_job_wait(job, copier_wake_time(b->copier));
    return 0;
}

static int co_copy_all(BackupJob *b)
{
    bool done = false;
    int ret = 0;

    while (ret == 0 && !done && !must_stop(b)) {
        ret = co_step(b, &done);
    }
    return ret < 0 ? ret : block_copy_error(b->copy);
}

/* The filter does it all, until it is cancelled. */
static int co_copy_none(BackupJob *b)
{
    while (!must_stop(b)) {
        co_job_wait(&b->block.job, INT64_MAX);
        co_pause(b);
    }
    return block_copy_error(b->copy);
}

/* I3: nothing counts as copied before it is durable. */
static int co_flush(BackupJob *b)
{
    int ret = 0;

    while (!must_stop(b)) {
        int flushed = co_block_copy_flush(b->copy);
        BlockdevOnError policy = b->on_target_error == BLOCKDEV_ON_ERROR_IGNORE
                                     ? BLOCKDEV_ON_ERROR_REPORT : b->on_target_error;

        if (flushed == 0) {
            b->durable = true;
            return 0;
        }
        ret = co_policy(b, policy, false, flushed);
        if (ret < 0) {
            return ret;
        }
    }
    return block_copy_error(b->copy);
}

/* A target that was read as a view gets what was saved for it, unless the copy has failed. */
static int co_finish_leaving(BackupJob *b)
{
    leaver_finish(b->leaver);
    while (!leaver_done(b->leaver)) {
        co_job_wait(&b->block.job, INT64_MAX);
    }
    return leaver_error(b->leaver);
}

/* What got to the target counts even now (bitmap-mode=always), if it can be made durable. */
static int co_give_up(BackupJob *b, int ret)
{
    bool failed = ret < 0 || block_copy_error(b->copy);

    block_copy_stop(b->copy, ret < 0 ? ret : -ECANCELED);
    while (b->copier && copier_in_flight(b->copier)) {
        co_job_wait(&b->block.job, INT64_MAX);
    }
    if (b->bitmap && b->bitmap_mode == BITMAP_SYNC_MODE_ALWAYS) {
        b->durable = co_block_copy_flush(b->copy) == 0;
    }
    return b->leaver && !failed ? co_finish_leaving(b) : ret;
}

/* QEMU has no words for this one. */
static void explain(const BackupJob *b, GError **errp)
{
    BlockCopyUse use = block_copy_use(b->copy);
    g_autofree char *file = use.spill_error
                                ? g_strdup_printf(" are full, the staging file failed (%s),",
                                                  g_strerror(-use.spill_error))
                                : g_strdup_printf("%s are full",
                                                  use.spill_size ? " and the staging file" : "");

    tm_error_set(errp, "The guest of node '%s' writes faster than its old data can be put away: "
                 "%" PRId64 " MiB of staging memory%s and the target does not keep up "
                 "(see staging-file, staging-file-size and staging-timeout of blockdev-backup)",
                 b->source->name, use.staging_size >> 20, file);
}

static int co_backup_run(Job *job, GError **errp)
{
    BackupJob *b = backup_of(job);
    int ret = b->copier ? co_copy_all(b) : co_copy_none(b);

    if (ret == 0 && !must_stop(b)) {
        ret = co_flush(b);
    }
    if (ret < 0 || must_stop(b)) {
        ret = co_give_up(b, ret);
    } else {
        progress_set_remaining(&job->progress, 0);
    }
    if (ret == -ENOBUFS) {
        explain(b, errp);
    }
    return ret;
}

/* --- the end --- */

/*
 * I3: the bits are given up only for what is durable; for all else they come back.
 */
static void settle_bitmap(BackupJob *b, bool success)
{
    bool always = b->bitmap_mode == BITMAP_SYNC_MODE_ALWAYS && b->durable;

    if (!b->bitmap) {
        return;
    }
    if (b->bitmap_mode != BITMAP_SYNC_MODE_NEVER && (success || always)) {
        dirty_bitmap_abdicate(b->bitmap);
        block_copy_mark_lost(b->copy, b->bitmap);
        if (!success) {
            block_copy_mark_rest(b->copy, b->bitmap);
            copier_mark_rest(b->copier, b->bitmap);
        }
    } else {
        dirty_bitmap_reclaim(b->bitmap);
    }
}

/* A filter that cannot go stays, and passes everything on. */
static void co_drop_filter(BackupJob *b)
{
    BlockNode *filter = b->filter;
    g_autoptr(GError) error = NULL;

    if (!block_graph_remove_filter(b->filter, &error)) {
        g_warning("Job '%s': filter '%s' stays: %s", b->block.job.id, b->filter->name,
                  error->message);
    }
    b->filter = NULL;
    b->copy = NULL; /* first: it goes on another loop, while query-jobs asks here */
    co_block_node_unref(filter);
}

static void co_backup_finish(Job *job, bool success)
{
    BackupJob *b = backup_of(job);
    BlockDrain *drain = co_block_drain_begin(b->source);
    int spill_fd = block_copy_dup_spill(b->copy);

    if (!success) {
        block_copy_stop(b->copy, job->ret < 0 ? job->ret : -ECANCELED);
    }
    settle_bitmap(b, success);
    copier_free(b->copier);
    b->copier = NULL;
    block_copy_set_notify(b->copy, NULL, NULL);
    if (b->leaver) {
        leaver_set_notify(b->leaver, NULL, NULL);
        b->leaver = NULL; /* it goes with the filter */
    }
    block_copy_hide_in_target(b->copy);
    co_block_job_drop_nodes(&b->block);
    co_drop_filter(b);
    co_block_drain_end(drain);
    co_scratch_file_close(spill_fd); /* a large one takes long: no guest waits for it any more */
}

void backup_add_info(const Job *job, JobInfo *info)
{
    const BackupJob *b = (const BackupJob *)job;

    if (job->driver == &backup_driver.job && b->copy) {
        info->x_backup = block_copy_info(b->copy);
    }
}

/* --- drain --- */

static void backup_drained(BlockJob *job, bool drained)
{
    BackupJob *b = (BackupJob *)job;

    if (b->copier) {
        copier_set_drained(b->copier, drained);
    }
}

/* A guest of another disk, whose backup writes to ours, may be waiting for room. */
static bool backup_drained_poll(BlockJob *job)
{
    BackupJob *b = (BackupJob *)job;

    if (!b->copier) {
        return false;
    }
    copier_pump(b->copier);
    return copier_in_flight(b->copier) || copier_wanted(b->copier);
}

const BlockJobDriver backup_driver = {
    .job = {
        .type = JOB_TYPE_BACKUP,
        .size = sizeof(BackupJob),
        .co_run = co_backup_run,
        .co_finish = co_backup_finish,
        BLOCK_JOB_DRIVER_HOOKS,
    },
    .drained = backup_drained,
    .drained_poll = backup_drained_poll,
};
