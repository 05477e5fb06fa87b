/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The QMP commands of objects. */
#include "block/control.h"
#include "block/objects/authz.h"
#include "block/objects/secret.h"
#include "block/objects/tls-object.h"
#include "monitor/ids.h"
#include "monitor/iothread.h"
#include "qmp-schema/qmp-commands.h"
#include "util/error.h"

static bool check_not_negative(const char *name, bool given, int64_t value, GError **errp)
{
    return !given || value >= 0 ||
           tm_error_set(errp, "%s value must be in range [0, %" G_GINT64_FORMAT "]", name,
                        G_MAXINT64);
}

/* Ours does without a limit of batches and of workers; all are checked as in QEMU. */
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

/* What the object is made of, and *free for it. */
static void *new_state(const ObjectOptions *args, GDestroyNotify *free, GError **errp)
{
    switch (args->qom_type) {
    case OBJECT_TYPE_AUTHZ_LIST:
        *free = authz_free;
        return authz_new_list(&args->u.authz_list);
    case OBJECT_TYPE_AUTHZ_LISTFILE:
        *free = authz_free;
        return authz_new_file(&args->u.authz_listfile, errp);
    case OBJECT_TYPE_AUTHZ_SIMPLE:
        *free = authz_free;
        return authz_new_simple(&args->u.authz_simple);
    case OBJECT_TYPE_IOTHREAD:
        *free = iothread_free;
        return check_properties(&args->u.iothread, errp)
                   ? iothread_new(args->id, &args->u.iothread, errp)
                   : NULL;
    case OBJECT_TYPE_SECRET:
        *free = secret_free;
        return secret_new(&args->u.secret, errp);
    case OBJECT_TYPE_TLS_CREDS_PSK:
        *free = tls_object_free;
        return tls_object_new_psk(&args->u.tls_creds_psk, errp);
    case OBJECT_TYPE_TLS_CREDS_X509:
        *free = tls_object_free;
        return tls_object_new_x509(&args->u.tls_creds_x509, errp);
    default:
        g_assert_not_reached();
    }
}

bool qmp_object_add(const ObjectOptions *args, GError **errp)
{
    GDestroyNotify free;
    void *state;

    if (!id_is_wellformed(args->id)) {
        return tm_error_set(errp, "Parameter 'id' expects an identifier");
    }
    if (!user_object_is_new(args->id, errp)) {
        return false;
    }
    state = new_state(args, &free, errp);
    if (!state) {
        return false;
    }
    user_object_add(args->id, args->qom_type, state, free);
    return true;
}

bool qmp_object_del(const ObjectDelArgs *args, GError **errp)
{
    const Loop *loop;
    bool ok;

    co_control_lock();
    loop = iothread_loop(args->id);
    if (loop && iothread_in_use(loop)) {
        ok = tm_error_set(errp, "object '%s' is in use, can not be deleted", args->id);
    } else {
        ok = user_object_del(args->id, errp);
    }
    control_unlock();
    return ok;
}
