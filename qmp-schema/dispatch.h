/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The generated table of QMP commands, and the reply of query-qmp-schema.
 *
 * The table is in qmp-dispatch.c, which calls the handlers qmp_NAME() and is therefore compiled in
 * monitor/ (Meson: qmp_dispatch_sources); everything else here is a leaf.
 */
#ifndef QMP_SCHEMA_DISPATCH_H
#define QMP_SCHEMA_DISPATCH_H

#include <glib.h>
#include <jansson.h>

typedef enum QmpCommandFlags {
    QMP_COMMAND_BEFORE_NEGOTIATION = 1 << 0, /* allowed before qmp_capabilities */
} QmpCommandFlags;

typedef struct QmpCommand {
    const char *name;
    /*
     * Checks @args (an object, or NULL for none), calls the handler, and returns what goes into
     * "return" (a new reference) or NULL with an error. Must run in a coroutine on loop 0; may
     * yield. @args must stay until it returns.
     */
    json_t *(*invoke)(const json_t *args, GError **errp);
    unsigned flags;
} QmpCommand;

/* Ends with an entry whose name is NULL. */
extern const QmpCommand qmp_commands[];

/* The reply of query-qmp-schema; a new reference. */
json_t *qmp_introspection(void);

#endif
