/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The QMP commands of objects. */
#include "block/control.h"
#include "monitor/iothread.h"
#include "qmp-schema/qmp-commands.h"
#include "util/error.h"

static bool check_not_negative(const char *name, bool given, int64_t value, GError **errp)
{
    return !given || value >= 0 ||
           tm_error_set(errp, "%s value must be in range [0, %" G_GINT64_FORMAT "]", name,
                        G_MAXINT64);
}

/* They tune QEMU's loop; ours takes them, checked as there, and does without. */
static bool check_properties(const IothreadProperties *p, GError **errp)
{
    int64_t min = p->has_thread_pool_min ? p->thread_pool_min : 0;
    int64_t max = p->has_thread_pool_max ? p->thread_pool_max : 64;

    if (!check_not_negative("poll-max-ns", p->has_poll_max_ns, p->poll_max_ns, errp) ||
        !check_not_negative("poll-grow", p->has_poll_grow, p->poll_grow, errp) ||
        !check_not_negative("poll-shrink", p->has_poll_shrink, p->poll_shrink, errp) ||
        !check_not_negative("aio-max-batch", p->has_aio_max_batch, p->aio_max_batch, errp) ||
        !check_not_negative("thread-pool-min", p->has_thread_pool_min, min, errp) ||
        !check_not_negative("thread-pool-max", p->has_thread_pool_max, max, errp)) {
        return false;
    }
    return (max > 0 && min <= max && max <= G_MAXINT) ||
           tm_error_set(errp, "bad thread-pool-min/thread-pool-max values");
}

bool qmp_object_add(const ObjectOptions *args, GError **errp)
{
    return check_properties(&args->u.iothread, errp) && iothread_add(args->id, errp);
}

bool qmp_object_del(const ObjectDelArgs *args, GError **errp)
{
    bool ok;

    co_control_lock();
    ok = iothread_del(args->id, errp);
    control_unlock();
    return ok;
}
