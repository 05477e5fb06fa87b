/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Iothreads; see iothread.h. */
#include "monitor/iothread.h"

#include "block/node.h"
#include "monitor/ids.h"
#include "util/error.h"

/* id → Loop. Loop 0. */
static GHashTable *iothreads;

Loop *iothread_loop(const char *id)
{
    return iothreads ? g_hash_table_lookup(iothreads, id) : NULL;
}

bool iothread_add(const char *id, GError **errp)
{
    Loop *loop;

    if (!id_is_wellformed(id)) {
        return tm_error_set(errp, "Parameter 'id' expects an identifier");
    }
    if (iothread_loop(id)) {
        return tm_error_set(
            errp, "attempt to add duplicate property '%s' to object (type 'container')", id);
    }
    loop = loop_new(id, errp);
    if (!loop || !loop_start_thread(loop, errp)) {
        loop_free(loop);
        return false;
    }
    if (!iothreads) {
        iothreads =
            g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)loop_free);
    }
    g_hash_table_insert(iothreads, g_strdup(id), loop);
    return true;
}

static bool in_use(const Loop *loop)
{
    const GPtrArray *nodes = block_nodes();

    for (guint i = 0; i < nodes->len; i++) {
        if (((BlockNode *)nodes->pdata[i])->loop == loop) {
            return true;
        }
    }
    return false;
}

bool iothread_del(const char *id, GError **errp)
{
    Loop *loop = iothread_loop(id);

    if (!loop) {
        return tm_error_set(errp, "object '%s' not found", id);
    }
    if (in_use(loop)) {
        return tm_error_set(errp, "object '%s' is in use, can not be deleted", id);
    }
    g_hash_table_remove(iothreads, id);
    return true;
}

void iothreads_free(void)
{
    g_clear_pointer(&iothreads, g_hash_table_unref);
}
