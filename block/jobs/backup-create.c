/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making a backup job: the checks, in QEMU's order and words, and the set-up. */
#include <inttypes.h>
#include <string.h>

#include "block/control.h"
#include "block/filters/copy-before-write.h"
#include "block/graph.h"
#include "block/jobs/backup-int.h"
#include "block/node-bitmaps.h"
#include "block/copy/spill.h"
#include "block/scratch-dir.h"
#include "util/error.h"

#define DEFAULT_WORKERS 64
#define STAGING_LEAST ((int64_t)BLOCK_COPY_MIN_STAGING)
#define STAGING_MOST (INT64_C(1) << 40)
#define SPILL_LEAST ((int64_t)SPILL_EXTENT)

/* The arguments with their defaults put in. */
typedef struct BackupPlan {
    const BlockdevBackup *args;
    BlockNode *source, *target;
    MirrorSyncMode sync; /* "incremental" is "bitmap" with on-success */
    BitmapSyncMode bitmap_mode;
    DirtyBitmap *bitmap;
    int64_t max_workers, max_chunk;
    bool use_copy_range;
    uint64_t min_cluster_size;
    uint64_t staging_bytes, spill_bytes;
} BackupPlan;

bool backup_find_nodes(const BlockdevBackup *args, BlockNode **source, BlockNode **target,
                       GError **errp)
{
    *source = block_node_lookup(args->device, errp);
    *target = *source ? block_node_lookup(args->target, errp) : NULL;
    return *target != NULL;
}

/* --- the bitmap --- */

static bool plan_sync(BackupPlan *plan, GError **errp)
{
    const BlockdevBackup *a = plan->args;

    plan->sync = a->sync;
    plan->bitmap_mode = a->bitmap_mode;
    if ((a->sync == MIRROR_SYNC_MODE_BITMAP || a->sync == MIRROR_SYNC_MODE_INCREMENTAL) &&
        !a->bitmap) {
        return tm_error_set(errp, "must provide a valid bitmap name for '%s' sync mode",
                            MirrorSyncMode_name(a->sync));
    }
    if (a->sync != MIRROR_SYNC_MODE_INCREMENTAL) {
        return true;
    }
    if (a->has_bitmap_mode && a->bitmap_mode != BITMAP_SYNC_MODE_ON_SUCCESS) {
        return tm_error_set(errp, "Bitmap sync mode must be '%s' when using sync mode '%s'",
                            BitmapSyncMode_name(BITMAP_SYNC_MODE_ON_SUCCESS),
                            MirrorSyncMode_name(a->sync));
    }
    plan->sync = MIRROR_SYNC_MODE_BITMAP;
    plan->bitmap_mode = BITMAP_SYNC_MODE_ON_SUCCESS;
    return true;
}

static bool plan_bitmap(BackupPlan *plan, GError **errp)
{
    const BlockdevBackup *a = plan->args;

    if (!a->bitmap) {
        return !a->has_bitmap_mode ||
               tm_error_set(errp, "Cannot specify bitmap sync mode without a bitmap");
    }
    plan->bitmap = block_node_bitmap_find(plan->source, a->bitmap);
    if (!plan->bitmap) {
        return tm_error_set(errp, "Bitmap '%s' could not be found", a->bitmap);
    }
    if (!a->has_bitmap_mode && a->sync != MIRROR_SYNC_MODE_INCREMENTAL) {
        return tm_error_set(errp, "Bitmap sync mode must be given when providing a bitmap");
    }
    if (!dirty_bitmap_check(plan->bitmap, DIRTY_BITMAP_ALLOW_RO, errp)) {
        return false;
    }
    if (plan->sync == MIRROR_SYNC_MODE_NONE) {
        return tm_error_set(errp, "sync mode '%s' does not produce meaningful bitmap outputs",
                            MirrorSyncMode_name(plan->sync));
    }
    if (plan->bitmap_mode == BITMAP_SYNC_MODE_NEVER && plan->sync != MIRROR_SYNC_MODE_BITMAP) {
        return tm_error_set(errp,
                            "Bitmap sync mode '%s' has no meaningful effect when combined with "
                            "sync mode '%s'",
                            BitmapSyncMode_name(plan->bitmap_mode),
                            MirrorSyncMode_name(plan->sync));
    }
    return true;
}

/* A bitmap that is to be cleared must be writable. */
static bool freeze_bitmap(const BackupPlan *plan, GError **errp)
{
    if (!plan->bitmap) {
        return true;
    }
    if (plan->bitmap_mode != BITMAP_SYNC_MODE_NEVER &&
        !dirty_bitmap_check(plan->bitmap, DIRTY_BITMAP_DEFAULT, errp)) {
        return false;
    }
    return dirty_bitmap_create_successor(plan->bitmap, errp);
}

/* --- other checks --- */

static bool can_compress(BlockNode *node)
{
    return block_node_skip_filters(node)->driver->supports_write_flags & BLOCK_COMPRESSED;
}

static bool check_nodes(const BackupPlan *plan, GError **errp)
{
    if (plan->source == plan->target) {
        return tm_error_set(errp, "Source and target cannot be the same");
    }
    if (plan->args->has_compress && plan->args->compress && !can_compress(plan->target)) {
        /* Behind it QEMU names the device, which is always "" in its daemon. */
        return tm_error_set(errp, "Compression is not supported for this drive %s", "");
    }
    return block_job_check_node_free(plan->source, errp) &&
           block_job_check_node_free(plan->target, errp);
}

static bool plan_perf(BackupPlan *plan, GError **errp)
{
    const BackupPerf *perf = plan->args->x_perf;

    plan->max_workers = perf && perf->has_max_workers ? perf->max_workers : DEFAULT_WORKERS;
    plan->use_copy_range = perf && perf->has_use_copy_range && perf->use_copy_range;
    plan->max_chunk = perf && perf->has_max_chunk ? perf->max_chunk : 0;
    plan->min_cluster_size = perf && perf->has_min_cluster_size ? perf->min_cluster_size : 0;
    if (plan->max_workers < 1 || plan->max_workers > INT_MAX) {
        return tm_error_set(errp, "max-workers must be between 1 and %d", INT_MAX);
    }
    if (plan->max_chunk < 0) {
        return tm_error_set(errp, "max-chunk must be zero (which means no limit) or positive");
    }
    return true;
}

static bool plan_staging(BackupPlan *plan, GError **errp)
{
    const BlockdevBackup *a = plan->args;

    plan->staging_bytes = a->has_staging_size ? a->staging_size : 0;
    plan->spill_bytes = a->has_staging_file_size ? a->staging_file_size : SPILL_DEFAULT_BYTES;
    if (a->has_staging_size &&
        (plan->staging_bytes < STAGING_LEAST || plan->staging_bytes > STAGING_MOST)) {
        return tm_error_set(errp, "staging-size must be between %" PRId64 " and %" PRId64,
                            STAGING_LEAST, STAGING_MOST);
    }
    if (plan->spill_bytes > INT64_MAX) {
        return tm_error_set(errp, "staging-file-size too large: %" PRIu64 " > %" PRId64,
                            plan->spill_bytes, INT64_MAX);
    }
    return !a->staging_file || plan->spill_bytes >= SPILL_LEAST ||
           tm_error_set(errp, "With staging-file, staging-file-size must be at least %" PRId64,
                        SPILL_LEAST);
}

/* After the bitmap, as in QEMU. */
static bool check_sizes(const BackupPlan *plan, GError **errp)
{
    if (plan->source->size != plan->target->size) {
        return tm_error_set(errp, "Source and target image have different sizes");
    }
    if (plan->min_cluster_size > INT64_MAX) {
        return tm_error_set(errp, "min-cluster-size too large: %" PRIu64 " > %" PRIi64,
                            plan->min_cluster_size, INT64_MAX);
    }
    return true;
}

/* --- set-up --- */

/* The file that the user names; -1: none. */
static bool co_open_spill(const BackupPlan *plan, int *fd, GError **errp)
{
    const char *path = plan->args->staging_file;

    *fd = path ? co_scratch_file_named(path) : -1;
    return !path || *fd >= 0 ||
           tm_error_set_errno(errp, -*fd, "Could not open the staging file '%s'", path);
}

static BlockNode *co_insert_filter(const BackupPlan *plan, GError **errp)
{
    CbwJobOptions options = {
        .name = plan->args->filter_node_name,
        .no_copier = plan->sync == MIRROR_SYNC_MODE_NONE,
        .discard_source = plan->args->has_discard_source && plan->args->discard_source,
        .min_cluster_size = plan->min_cluster_size,
        .job_id = plan->args->job_id,
        .bitmap = plan->sync == MIRROR_SYNC_MODE_BITMAP ? plan->bitmap : NULL,
        .staging_bytes = plan->staging_bytes,
        .room_limit_ns = plan->args->has_staging_timeout
                             ? (int64_t)plan->args->staging_timeout * 1000000000 : 0,
    };
    BlockNode *filter = co_cbw_open_for_job(plan->source, plan->target, &options, errp);

    if (filter &&
        !block_graph_insert_filter(filter, plan->source, block_job_owns_edge, NULL, errp)) {
        g_prefix_error(errp, "Could not replace node: ");
        co_block_node_unref(filter);
        return NULL;
    }
    return filter;
}

static bool check_chunk(const BackupPlan *plan, const BlockCopy *copy, GError **errp)
{
    int64_t cluster_size = block_copy_cluster_size(copy);

    return !plan->max_chunk || plan->max_chunk >= cluster_size ||
           tm_error_set(errp, "Required max-chunk (%" PRIi64 ") is less than backup cluster size "
                        "(%" PRIi64 ")", plan->max_chunk, cluster_size);
}

static bool is_off(bool has, bool value)
{
    return has && !value;
}

static BackupJob *create_job(const BackupPlan *plan, JobTxn *txn, GError **errp)
{
    const BlockdevBackup *a = plan->args;
    BackupJob *b = block_job_create(&backup_driver, a->job_id, txn, a->has_speed ? a->speed : 0,
                                    !is_off(a->has_auto_finalize, a->auto_finalize),
                                    !is_off(a->has_auto_dismiss, a->auto_dismiss), errp);

    if (b) {
        b->source = plan->source;
        b->bitmap = plan->bitmap;
        b->bitmap_mode = plan->bitmap_mode;
        b->on_source_error = a->has_on_source_error ? a->on_source_error : BLOCKDEV_ON_ERROR_REPORT;
        b->on_target_error = a->has_on_target_error ? a->on_target_error : BLOCKDEV_ON_ERROR_REPORT;
        b->progress_at_error = -1;
    }
    return b;
}

static bool co_add_nodes(BackupJob *b, BlockNode *filter, BlockNode *target, GError **errp)
{
    return co_block_job_add_node(&b->block, filter, "main node", errp) &&
           co_block_job_add_node(&b->block, target, "target", errp);
}

/* Does anything below the source have a backing file? If not, all of it is in the top layer. */
static bool has_backing(const BlockNode *node)
{
    for (unsigned i = 0; i < node->children->len; i++) {
        const BlockChild *child = node->children->pdata[i];

        if ((child->role & BLOCK_ROLE_COW) || has_backing(child->node)) {
            return true;
        }
    }
    return false;
}

static void set_copier(BackupJob *b, const BackupPlan *plan)
{
    const BlockdevBackup *a = plan->args;
    CopierOptions options = {
        .copy = b->copy,
        .max_workers = plan->max_workers,
        .max_chunk = plan->max_chunk,
        .least_speed = MIN(a->has_min_speed ? a->min_speed : 0, INT64_MAX),
        .compress = a->has_compress && a->compress,
        .use_copy_range = plan->use_copy_range,
        .discard_source = a->has_discard_source && a->discard_source,
        .only_allocated = plan->sync == MIRROR_SYNC_MODE_TOP && has_backing(plan->source),
        .limit = &b->block.limit,
        .progress = &b->block.job.progress,
        .notify = backup_notify,
        .opaque = b,
    };

    progress_set_remaining(&b->block.job.progress, block_copy_selected_bytes(b->copy));
    if (plan->sync == MIRROR_SYNC_MODE_NONE) {
        b->leaver = cbw_node_leaver(b->filter);
        leaver_set_notify(b->leaver, backup_notify, b);
    } else {
        b->copier = copier_new(&options);
    }
}

static void co_remove_filter(BlockNode *filter)
{
    if (block_graph_remove_filter(filter, NULL)) {
        co_block_node_unref(filter);
    }
}

static BlockJob *co_set_up(const BackupPlan *plan, JobTxn *txn, GError **errp)
{
    BlockNode *filter = co_insert_filter(plan, errp);
    BackupJob *b = NULL;
    int spill_fd;

    if (!filter) {
        return NULL;
    }
    if (!check_chunk(plan, cbw_node_copy(filter), errp) || !(b = create_job(plan, txn, errp))) {
        co_remove_filter(filter);
        return NULL;
    }
    if (!co_add_nodes(b, filter, plan->target, errp) || !co_open_spill(plan, &spill_fd, errp)) {
        co_block_job_drop_nodes(&b->block);
        job_discard(&b->block.job);
        co_remove_filter(filter);
        return NULL;
    }
    b->filter = filter;
    b->copy = cbw_node_copy(filter);
    if (plan->spill_bytes >= SPILL_LEAST) {
        block_copy_spill_to(b->copy, plan->spill_bytes, spill_fd);
    }
    set_copier(b, plan);
    return &b->block;
}

BlockJob *co_backup_prepare(const BlockdevBackup *args, JobTxn *txn, GError **errp)
{
    BackupPlan plan = { .args = args };
    BlockJob *job = NULL;

    g_assert(control_locked_by_me());
    if (!backup_find_nodes(args, &plan.source, &plan.target, errp) || !plan_sync(&plan, errp) ||
        !plan_bitmap(&plan, errp) || !check_nodes(&plan, errp) || !plan_perf(&plan, errp) ||
        !plan_staging(&plan, errp) || !freeze_bitmap(&plan, errp)) {
        return NULL;
    }
    if (check_sizes(&plan, errp)) {
        job = co_set_up(&plan, txn, errp);
    }
    if (!job && plan.bitmap) {
        dirty_bitmap_reclaim(plan.bitmap);
    }
    return job;
}

bool co_backup_start(const BlockdevBackup *args, GError **errp)
{
    BlockNode *source, *target;
    BlockJob *job = NULL;
    BlockDrain *drain;

    co_control_lock();
    if (backup_find_nodes(args, &source, &target, errp)) {
        drain = co_block_drain_begin(source);
        job = co_backup_prepare(args, NULL, errp);
        co_block_drain_end(drain);
        if (job) {
            block_job_start(job);
        }
    }
    control_unlock();
    return job != NULL;
}
