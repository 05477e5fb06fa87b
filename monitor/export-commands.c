/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The QMP commands of block exports of any kind. */
#include "block/control.h"
#include "block/export.h"
#include "monitor/iothread.h"
#include "qmp-schema/qmp-commands.h"
#include "util/error.h"

/* The loop of the iothread that is named; false where there is none of that name. */
static bool find_loop(const BlockExportOptions *args, Loop **loop, GError **errp)
{
    *loop = args->iothread ? iothread_loop(args->iothread) : NULL;
    if (args->iothread && !*loop) {
        return tm_error_set(errp, "iothread \"%s\" not found", args->iothread);
    }
    return true;
}

bool qmp_block_export_add(const BlockExportOptions *args, GError **errp)
{
    Loop *loop;
    bool ok;

    co_control_lock();
    ok = find_loop(args, &loop, errp) && co_export_add(args, loop, errp);
    control_unlock();
    return ok;
}

bool qmp_block_export_del(const BlockExportDelArgs *args, GError **errp)
{
    bool hard = args->has_mode && args->mode == BLOCK_EXPORT_REMOVE_MODE_HARD;
    bool ok;

    co_control_lock();
    ok = co_export_del(args->id, hard, errp);
    control_unlock();
    return ok;
}

static BlockExportInfo *info_of(const Export *export)
{
    BlockExportInfo *info = g_new0(BlockExportInfo, 1);

    info->id = g_strdup(export->id);
    info->type = export->driver->type;
    info->node_name = g_strdup(export->child->node->name);
    info->shutting_down = export->shutting_down;
    return info;
}

/* The newest first, as in QEMU. */
GPtrArray *qmp_query_block_exports(GError **errp)
{
    const GPtrArray *exports = export_list();
    GPtrArray *infos = g_ptr_array_new_with_free_func((GDestroyNotify)BlockExportInfo_free);

    for (unsigned i = exports->len; i-- > 0;) {
        g_ptr_array_add(infos, info_of(exports->pdata[i]));
    }
    return infos;
}
