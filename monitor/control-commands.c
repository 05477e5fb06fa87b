/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The QMP commands of the session itself: negotiation, versions, introspection, quit. */
#include "monitor/control-commands.h"

#include "monitor/message.h"
#include "qmp-schema/dispatch.h"
#include "qmp-schema/qmp-commands.h"

static struct {
    void (*fn)(void *opaque);
    void *opaque;
} on_quit;

void monitor_set_quit(void (*fn)(void *opaque), void *opaque)
{
    on_quit.fn = fn;
    on_quit.opaque = opaque;
}

/* The schema has checked the capabilities; the session takes note of them (message.c). */
bool qmp_qmp_capabilities(const QmpCapabilitiesArgs *args, GError **errp)
{
    return true;
}

VersionInfo *qmp_query_version(GError **errp)
{
    json_t *json = qmp_version();
    VersionInfo *version = VersionInfo_parse(json, NULL, errp);

    json_decref(json);
    return version;
}

GPtrArray *qmp_query_commands(GError **errp)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)CommandInfo_free);

    for (const QmpCommand *command = qmp_commands; command->name; command++) {
        CommandInfo *info = g_new0(CommandInfo, 1);

        info->name = g_strdup(command->name);
        g_ptr_array_add(list, info);
    }
    return list;
}

json_t *qmp_query_qmp_schema(GError **errp)
{
    return qmp_introspection();
}

bool qmp_quit(GError **errp)
{
    on_quit.fn(on_quit.opaque);
    return true;
}
