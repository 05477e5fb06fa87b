/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a copy tells of itself: figures for queries, and events when a place fills. */
#include <errno.h>

#include "block/copy/copy-int.h"
#include "qmp-schema/qmp-events.h"

/* Of staging, in quarters: above the one it is told, and below the other it may be told again. */
#define STAGING_HIGH 3
#define STAGING_LOW 1
/* … but not more often than that. */
#define TELL_NS INT64_C(1000000000)
/* When the spill file counts as nearly full, in per cent. */
#define NEARLY_FULL 80

BlockCopyUse block_copy_use(const BlockCopy *copy)
{
    BlockCopyUse use = { 0 };

    if (copy->staging) {
        use.staging_used = staging_used(copy->staging) * copy->block_size;
        use.staging_size = staging_capacity(copy->staging) * copy->block_size;
    }
    if (copy->spill) {
        use.spill_used = spill_used(copy->spill);
        use.spill_size = spill_limit(copy->spill);
        use.spill_error = copy->spill_error;
    }
    return use;
}

/* --- figures --- */

/* Counts may change while they are added up. */
static int64_t bytes_of(const BlockCopy *copy, int64_t blocks)
{
    return CLAMP(blocks * copy->block_size, 0, copy->size);
}

int64_t copy_in_target(const BlockCopy *copy)
{
    int64_t elsewhere = sparse_bitmap_count(copy->pending) + sparse_bitmap_count(copy->zeroes) +
                        sparse_bitmap_count(copy->lost) + copy->left_out;

    if (copy->staging) {
        elsewhere += sparse_bitmap_count(staging_held(copy->staging));
    }
    if (copy->spill) {
        elsewhere += sparse_bitmap_count(spill_held(copy->spill));
    }
    return bytes_of(copy, (int64_t)sparse_bitmap_count(copy->access) - elsewhere);
}

static XCopyState state_of(const BlockCopy *copy, int error)
{
    return error ? X_COPY_STATE_FAILED : copy->off ? X_COPY_STATE_ENDED : X_COPY_STATE_RUNNING;
}

XCopyInfo *block_copy_info(const BlockCopy *copy)
{
    XCopyInfo *info = g_new(XCopyInfo, 1);
    BlockCopyUse use = block_copy_use(copy);
    int error = copy->error == -ECANCELED ? 0 : copy->error;
    int64_t now = loop_now_ns(), requests = meter_rate(&copy->guest_requests, now);

    *info = (XCopyInfo){
        .state = state_of(copy, error),
        .error = error ? g_strdup(g_strerror(-error)) : NULL,
        .rate = meter_rate(&copy->moved, now),
        /* None while the guest is idle. */
        .guest_added_latency = requests ? copy->slowed_ns : 0,
        .guest_save_latency = requests ? meter_rate(&copy->guest_waits, now) / requests : 0,
        .staging_used = use.staging_used,
        .staging_size = use.staging_size,
        .spill_used = use.spill_used,
        .spill_size = use.spill_size,
        .pending = bytes_of(copy, sparse_bitmap_count(copy->pending)),
        .saved = copy->kept_bytes,
        .in_target = copy_in_target(copy),
        .given_back = bytes_of(copy, copy->selected - sparse_bitmap_count(copy->access)),
        .host_copied = copy->host_bytes,
    };
    return info;
}

/* --- events --- */

static void send_staging(const BlockCopy *copy, size_t used, size_t size)
{
    XCopyStagingEvent event = {
        .node_name = copy->owner->name,
        .id = copy->job_id,
        .used = used * copy->block_size,
        .size = size * copy->block_size,
    };

    qmp_event_x_copy_staging(&event);
}

void copy_tell_staging(BlockCopy *copy)
{
    size_t used = staging_used(copy->staging), size = staging_capacity(copy->staging);

    if (used < size / 4 * STAGING_LOW) {
        copy->staging_is_high = false;
    } else if (!copy->staging_is_high && used > size / 4 * STAGING_HIGH) {
        int64_t now = loop_now_ns();

        if (!copy->staging_told_at || now - copy->staging_told_at >= TELL_NS) {
            copy->staging_is_high = true;
            copy->staging_told_at = now;
            send_staging(copy, used, size);
        }
    }
}

void copy_tell_target(BlockCopy *copy)
{
    XCopyTargetEvent event = { copy->owner->name, 0, copy->target_threshold };

    if (!event.threshold) {
        return;
    }
    event.used = copy_in_target(copy);
    if (event.used < event.threshold / 4 * 3) {
        copy->target_is_high = false;
    } else if (!copy->target_is_high && event.used > event.threshold) {
        copy->target_is_high = true;
        qmp_event_x_copy_target(&event);
    }
}

static void tell_spill_once(BlockCopy *copy, const BlockCopyUse *use, XBackupSpillReason reason)
{
    XBackupSpillEvent event = {
        .id = copy->job_id,
        .reason = reason,
        .used = use->spill_used,
        .size = use->spill_size,
        .error = use->spill_error ? (char *)g_strerror(-use->spill_error) : NULL,
    };

    if (!(copy->spill_told & 1u << reason)) {
        copy->spill_told |= 1u << reason;
        qmp_event_x_backup_spill(&event);
    }
}

void copy_tell_spill(BlockCopy *copy)
{
    BlockCopyUse use = block_copy_use(copy);

    if (use.spill_error) {
        tell_spill_once(copy, &use, X_BACKUP_SPILL_REASON_FAILED);
    }
    if (!use.spill_used) {
        return;
    }
    tell_spill_once(copy, &use, X_BACKUP_SPILL_REASON_BEGUN);
    if (use.spill_used >= use.spill_size / 100 * NEARLY_FULL) {
        tell_spill_once(copy, &use, X_BACKUP_SPILL_REASON_NEARLY_FULL);
    }
    if (use.spill_used >= use.spill_size) {
        tell_spill_once(copy, &use, X_BACKUP_SPILL_REASON_FULL);
    }
}
