/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blkdebug: passes requests on to an image, and makes those fail that rules say; so that every
 * error path above can be walked.  It also makes an image look more restricted than it is
 * (alignment, sizes).
 *
 * The rules are in blkdebug-rules.c, their config file in blkdebug-config.c.
 */
#include "block/drivers/blkdebug.h"
#include "block/drivers/blkdebug-rules.h"
#include "block/drivers/drivers.h"
#include "block/node-io.h"
#include "util/error.h"

#include <errno.h>
#include <limits.h>

typedef struct BlkdebugState {
    BlkdebugRules rules;
    int64_t align; /* 0 in each: not set */
    int64_t max_transfer;
    int64_t opt_write_zero, max_write_zero;
    int64_t opt_discard, max_discard;
    unsigned take_perms, unshare_perms; /* BlockPerm */
} BlkdebugState;

/* --- opening ------------------------------------------------------------------------------ */

static void add_rules(BlkdebugRules *rules, const BlockdevOptionsBlkdebug *o)
{
    for (guint i = 0; o->inject_error && i < o->inject_error->len; i++) {
        blkdebug_rules_add_error(rules, o->inject_error->pdata[i]);
    }
    for (guint i = 0; o->set_state && i < o->set_state->len; i++) {
        blkdebug_rules_add_state(rules, o->set_state->pdata[i]);
    }
}

/* QEMU knows no empty list of rules: it takes it for an option that it has not. */
static bool check_list(const char *name, const GPtrArray *list, GError **errp)
{
    if (list && list->len == 0) {
        return tm_error_set(errp, "Block protocol 'blkdebug' doesn't support the option '%s'",
                            name);
    }
    return true;
}

static unsigned perms_of(const GArray *list)
{
    unsigned perms = 0;

    for (guint i = 0; list && i < list->len; i++) {
        switch (g_array_index(list, int, i)) {
        case BLOCK_PERMISSION_CONSISTENT_READ:
            perms |= BLOCK_PERM_CONSISTENT_READ;
            break;
        case BLOCK_PERMISSION_WRITE:
            perms |= BLOCK_PERM_WRITE;
            break;
        case BLOCK_PERMISSION_WRITE_UNCHANGED:
            perms |= BLOCK_PERM_WRITE_UNCHANGED;
            break;
        case BLOCK_PERMISSION_RESIZE:
            perms |= BLOCK_PERM_RESIZE;
            break;
        }
    }
    return perms;
}

/* Reads a limit, which must be a multiple of @unit. */
static bool set_limit(int64_t *limit, const char *name, bool has, int64_t value, int64_t unit,
                      GError **errp)
{
    if (!has) {
        return true;
    }
    if (value < 0) {
        return tm_error_set(errp, "Value '%" PRId64 "' is out of range for parameter '%s'", value,
                            name);
    }
    if (value >= INT_MAX || value % unit) {
        return tm_error_set(errp, "Cannot meet constraints with %s %" PRId64, name, value);
    }
    *limit = value;
    return true;
}

static bool set_align(BlkdebugState *s, const BlockdevOptionsBlkdebug *o, GError **errp)
{
    if (!set_limit(&s->align, "align", o->has_align, o->align, 1, errp)) {
        return false;
    }
    if (s->align & (s->align - 1)) {
        return tm_error_set(errp, "Cannot meet constraints with align %" PRId64, s->align);
    }
    return true;
}

static bool set_limits(BlkdebugState *s, const BlockdevOptionsBlkdebug *o, int64_t child_align,
                       GError **errp)
{
    if (!set_align(s, o, errp)) {
        return false;
    }
    int64_t align = MAX(s->align, child_align);
    return set_limit(&s->max_transfer, "max-transfer", o->has_max_transfer, o->max_transfer, align,
                     errp) &&
           set_limit(&s->opt_write_zero, "opt-write-zero", o->has_opt_write_zero, o->opt_write_zero,
                     align, errp) &&
           set_limit(&s->max_write_zero, "max-write-zero", o->has_max_write_zero, o->max_write_zero,
                     MAX(s->opt_write_zero, align), errp) &&
           set_limit(&s->opt_discard, "opt-discard", o->has_opt_discard, o->opt_discard, align,
                     errp) &&
           set_limit(&s->max_discard, "max-discard", o->has_max_discard, o->max_discard,
                     MAX(s->opt_discard, align), errp);
}

static bool co_open_all(BlockNode *node, const BlockdevOptionsBlkdebug *o, GError **errp)
{
    const unsigned role = BLOCK_ROLE_FILTERED | BLOCK_ROLE_PRIMARY;
    BlkdebugState *s = node->state;

    if (!check_list("inject-error", o->inject_error, errp) ||
        !check_list("set-state", o->set_state, errp) ||
        (o->config && !co_blkdebug_rules_load(&s->rules, o->config, errp))) {
        return false;
    }
    add_rules(&s->rules, o);
    s->take_perms = perms_of(o->take_child_perms);
    s->unshare_perms = perms_of(o->unshare_child_perms);
    return co_block_open_child(node, o->image, "image", role, errp) &&
           set_limits(s, o, node->file->node->limits.request_alignment, errp);
}

static bool blkdebug_co_open(BlockNode *node, const BlockdevOptions *options, GError **errp)
{
    BlkdebugState *s = node->state;

    blkdebug_rules_init(&s->rules);
    if (!co_open_all(node, &options->u.blkdebug, errp)) {
        blkdebug_rules_clear(&s->rules);
        return false;
    }
    blkdebug_rules_event(&s->rules, BLKDEBUG_EVENT_NONE);
    return true;
}

static void blkdebug_co_close(BlockNode *node)
{
    BlkdebugState *s = node->state;

    blkdebug_rules_clear(&s->rules);
}

/* --- requests ----------------------------------------------------------------------------- */

void blkdebug_event(BlockChild *child, BlkdebugEvent event)
{
    if (child->node->driver == &block_driver_blkdebug) {
        BlkdebugState *s = child->node->state;
        blkdebug_rules_event(&s->rules, event);
    }
}

static int co_check(BlockNode *node, BlkdebugIOType type, int64_t offset, int64_t bytes)
{
    BlkdebugState *s = node->state;
    bool immediately = true;
    int ret = blkdebug_rules_check(&s->rules, type, offset, bytes, &immediately);

    if (!immediately) {
        co_pass();
    }
    return ret;
}

static int blkdebug_co_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    int ret = co_check(node, BLKDEBUG_IO_TYPE_READ, offset, data->len);

    return ret < 0 ? ret : co_block_read(node->file, offset, data, flags);
}

/* Events that requests raise on the node itself; all others come from the drivers above. */
static void raise_event(BlockNode *node, BlkdebugEvent event)
{
    BlkdebugState *s = node->state;

    blkdebug_rules_event(&s->rules, event);
}

static int blkdebug_co_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags)
{
    raise_event(node, BLKDEBUG_EVENT_PWRITEV);
    int ret = co_check(node, BLKDEBUG_IO_TYPE_WRITE, offset, data->len);
    ret = ret < 0 ? ret : co_block_write(node->file, offset, data, flags);
    raise_event(node, BLKDEBUG_EVENT_PWRITEV_DONE);
    return ret;
}

static int blkdebug_co_write_zeroes(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags)
{
    const BlockLimits *limits = &node->limits;

    if (bytes < MAX(limits->request_alignment, limits->write_zeroes_alignment)) {
        return -ENOTSUP; /* the head or tail of a request, as an image with clusters would */
    }
    raise_event(node, BLKDEBUG_EVENT_PWRITEV_ZERO);
    int ret = co_check(node, BLKDEBUG_IO_TYPE_WRITE_ZEROES, offset, bytes);
    ret = ret < 0 ? ret : co_block_write_zeroes(node->file, offset, bytes, flags);
    raise_event(node, BLKDEBUG_EVENT_PWRITEV_DONE);
    return ret;
}

static int blkdebug_co_discard(BlockNode *node, int64_t offset, int64_t bytes)
{
    int ret = co_check(node, BLKDEBUG_IO_TYPE_DISCARD, offset, bytes);

    return ret < 0 ? ret : co_block_discard(node->file, offset, bytes);
}

static int blkdebug_co_flush(BlockNode *node)
{
    return co_check(node, BLKDEBUG_IO_TYPE_FLUSH, 0, 0); /* the gate flushes the image */
}

static int blkdebug_co_block_status(BlockNode *node, bool want_zero, int64_t offset, int64_t bytes,
                                    BlockStatus *status)
{
    int ret = co_check(node, BLKDEBUG_IO_TYPE_BLOCK_STATUS, offset, bytes);

    *status = (BlockStatus){
        .flags = BLOCK_STATUS_RAW,
        .bytes = bytes,
        .map = offset,
        .file = node->file->node,
    };
    return ret;
}

/* --- properties --------------------------------------------------------------------------- */

static void blkdebug_refresh_limits(BlockNode *node)
{
    const BlkdebugState *s = node->state;
    BlockLimits *limits = &node->limits;

    limits->request_alignment = s->align ? s->align : limits->request_alignment;
    limits->max_transfer = s->max_transfer ? s->max_transfer : limits->max_transfer;
    limits->write_zeroes_alignment =
        s->opt_write_zero ? s->opt_write_zero : limits->write_zeroes_alignment;
    limits->max_write_zeroes = s->max_write_zero ? s->max_write_zero : limits->max_write_zeroes;
    limits->discard_alignment = s->opt_discard ? s->opt_discard : limits->discard_alignment;
    limits->max_discard = s->max_discard ? s->max_discard : limits->max_discard;
}

static void blkdebug_child_perm(BlockNode *node, BlockChild *child, unsigned role, unsigned perm,
                                unsigned shared, unsigned *child_perm, unsigned *child_shared)
{
    const BlkdebugState *s = node->state;

    block_default_child_perm(node, child, role, perm, shared, child_perm, child_shared);
    *child_perm |= s->take_perms;
    *child_shared &= ~s->unshare_perms;
}

/* Only the common options change. */
static const BlockReopenOps reopen_ops = { 0 };

const BlockDriver block_driver_blkdebug = {
    .reopen = &reopen_ops,
    .event = raise_event,
    .id = BLOCKDEV_DRIVER_BLKDEBUG,
    .state_size = sizeof(BlkdebugState),
    .is_filter = true,
    .co_open = blkdebug_co_open,
    .co_close = blkdebug_co_close,
    .co_read = blkdebug_co_read,
    .co_write = blkdebug_co_write,
    .co_write_zeroes = blkdebug_co_write_zeroes,
    .co_discard = blkdebug_co_discard,
    .co_flush = blkdebug_co_flush,
    .co_block_status = blkdebug_co_block_status,
    .refresh_limits = blkdebug_refresh_limits,
    .child_perm = blkdebug_child_perm,
    .supports_write_flags = BLOCK_FUA,
    .supports_write_zeroes_flags = BLOCK_FUA | BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK,
};
