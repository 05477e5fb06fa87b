/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changing the driver's options while the image is open.  Tables are written first; caches of the
 * new sizes are made, and the old ones are kept until the change is final.
 */
#include "block/control.h"
#include "block/drivers/qcow2/map.h"
#include "block/drivers/qcow2/options.h"
#include "block/drivers/qcow2/refcount.h"
#include "util/error.h"

#include <string.h>

/* What the options decide. */
typedef struct Options {
    Qcow2Cache *l2_cache, *refcount_cache;
    unsigned slice_bits;
    bool lazy_refcounts;
    bool discard_passthrough[QCOW2_DISCARD__MAX];
    bool discard_no_unref;
    unsigned overlap_checks;
    uint64_t cache_clean_interval;
} Options;

static Options *take_options(Qcow2State *s)
{
    Options *old = g_new0(Options, 1);

    *old = (Options){
        .l2_cache = g_steal_pointer(&s->l2_cache),
        .refcount_cache = g_steal_pointer(&s->refcount_cache),
        .slice_bits = s->slice_bits,
        .lazy_refcounts = s->lazy_refcounts,
        .discard_no_unref = s->discard_no_unref,
        .overlap_checks = s->overlap_checks,
        .cache_clean_interval = s->cache_clean_interval,
    };
    memcpy(old->discard_passthrough, s->discard_passthrough, sizeof(old->discard_passthrough));
    return old;
}

static void put_options_back(Qcow2State *s, Options *old)
{
    qcow2_cache_free(s->l2_cache);
    qcow2_cache_free(s->refcount_cache);
    s->l2_cache = old->l2_cache;
    s->refcount_cache = old->refcount_cache;
    s->slice_bits = old->slice_bits;
    s->lazy_refcounts = old->lazy_refcounts;
    s->discard_no_unref = old->discard_no_unref;
    s->overlap_checks = old->overlap_checks;
    s->cache_clean_interval = old->cache_clean_interval;
    memcpy(s->discard_passthrough, old->discard_passthrough, sizeof(old->discard_passthrough));
    g_free(old);
}

/* All tables are in the file, and not marked as perhaps wrong.  Read-only: they are. */
static int qcow2_co_settle(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);
    int ret;

    if (!qcow2_writable(node) || s->broken) {
        return 0;
    }
    co_mutex_lock(&s->lock);
    ret = co_qcow2_drop_caches(node);
    if (ret == 0) {
        ret = co_qcow2_flush_files(node);
    }
    if (ret == 0) {
        ret = co_qcow2_mark_clean(node);
    }
    co_mutex_unlock(&s->lock);
    return ret;
}

static bool prepare_options(BlockNode *node, const BlockdevOptionsQcow2 *given, Options **old,
                            GError **errp)
{
    Qcow2State *s = qcow2_state(node);

    *old = take_options(s);
    if (!qcow2_options_apply(node, given, errp)) {
        put_options_back(s, *old);
        return false;
    }
    return true;
}

/* What opening for writing mends or refuses was left alone when the image was opened to be read. */
static bool check_writable(const BlockNode *node, bool was_writable, GError **errp)
{
    const Qcow2State *s = qcow2_state(node);

    if (!was_writable && qcow2_writable(node) &&
        (s->header.incompatible & (QCOW2_DIRTY | QCOW2_CORRUPT))) {
        return tm_error_set(errp, "qcow2: Image '%s' is not clean; it must be opened anew to be "
                                  "written", block_node_filename(node));
    }
    return true;
}

static bool qcow2_co_prepare(BlockNode *node, const BlockdevOptions *given,
                             const BlockOptions *before, void **state, GError **errp)
{
    Options *old = NULL;
    bool ok;

    if (!check_writable(node, !before->read_only, errp)) {
        return false;
    }
    co_move(node->loop);
    co_qcow2_cleaner_stop(node);
    ok = prepare_options(node, &given->u.qcow2, &old, errp);
    if (!ok) {
        qcow2_cleaner_start(node);
    }
    co_move(control_loop());
    *state = ok ? old : NULL;
    return ok;
}

static void qcow2_co_commit(BlockNode *node, void *state)
{
    g_autoptr(GError) error = NULL;
    Options *old = state;

    qcow2_cache_free(old->l2_cache);
    qcow2_cache_free(old->refcount_cache);
    g_free(old);
    co_move(node->loop);
    if (!co_qcow2_clear_unknown(node, &error)) {
        g_warning("Node '%s': %s", node->name, error->message);
    }
    qcow2_cleaner_start(node);
    co_move(control_loop());
}

static void qcow2_co_abort(BlockNode *node, void *state)
{
    put_options_back(qcow2_state(node), state);
    co_move(node->loop);
    qcow2_cleaner_start(node);
    co_move(control_loop());
}

static const char *const qcow2_options[] = {
    "lazy-refcounts", "pass-discard-request", "pass-discard-snapshot", "pass-discard-other",
    "discard-no-unref", "overlap-check", "cache-size", "l2-cache-size", "l2-cache-entry-size",
    "refcount-cache-size", "cache-clean-interval", "encrypt", NULL,
};

const BlockReopenOps qcow2_reopen_ops = {
    .options = qcow2_options,
    .co_settle = qcow2_co_settle,
    .co_prepare = qcow2_co_prepare,
    .co_commit = qcow2_co_commit,
    .co_abort = qcow2_co_abort,
};
