/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Exports; see export.h. */
#include "block/export.h"

#include "block/control.h"
#include "block/graph.h"
#include "qmp-schema/qmp-events.h"
#include "util/error.h"

/* The tables of the process: kinds, and exports by id. Loop 0, but for kinds, which are constant.
 */
static struct {
    GPtrArray *drivers;
    GPtrArray *exports;
    CoQueue gone; /* woken when one was deleted */
} table;

void export_driver_register(const ExportDriver *driver)
{
    if (!table.drivers) {
        table.drivers = g_ptr_array_new();
        table.exports = g_ptr_array_new();
    }
    g_ptr_array_add(table.drivers, (gpointer)driver);
}

static const ExportDriver *driver_find(BlockExportType type)
{
    for (unsigned i = 0; table.drivers && i < table.drivers->len; i++) {
        const ExportDriver *driver = table.drivers->pdata[i];

        if (driver->type == type) {
            return driver;
        }
    }
    return NULL;
}

const GPtrArray *export_list(void)
{
    if (!table.exports) {
        table.exports = g_ptr_array_new();
    }
    return table.exports;
}

Export *export_find(const char *id)
{
    const GPtrArray *list = export_list();

    for (unsigned i = 0; i < list->len; i++) {
        Export *export = list->pdata[i];

        if (g_str_equal(export->id, id)) {
            return export;
        }
    }
    return NULL;
}

/* --- As a user of the node --- */

static void drained_begin(void *opaque)
{
    ((Export *)opaque)->quiesced = true;
}

static bool drained_poll(void *opaque)
{
    return ((Export *)opaque)->in_flight > 0;
}

static void drained_end(void *opaque)
{
    Export *export = opaque;

    export->quiesced = false;
    export->driver->resume(export);
}

static void co_detach(void *opaque)
{
    Export *export = opaque;

    export->driver->co_detach(export);
}

static void co_attach(void *opaque, Loop *loop)
{
    Export *export = opaque;

    export->driver->co_attach(export, loop);
}

static char *describe(void *opaque)
{
    Export *export = opaque;

    return g_strdup_printf("%s export '%s'", export->driver->type_name, export->id);
}

static const BlockUserOps user_ops = {
    .drain_order = 0,
    .drained_begin = drained_begin,
    .drained_poll = drained_poll,
    .drained_end = drained_end,
    .co_detach = co_detach,
    .co_attach = co_attach,
    .describe = describe,
};

/* --- Adding --- */

/* QEMU's rule for ids: a letter, then letters, digits and "-._". */
static bool id_wellformed(const char *id)
{
    bool ok = g_ascii_isalpha(id[0]);

    for (const char *c = id; ok && *c; c++) {
        ok = g_ascii_isalnum(*c) || strchr("-._", *c);
    }
    return ok;
}

static bool check_id(const char *id, GError **errp)
{
    if (!id_wellformed(id)) {
        return tm_error_set(errp, "Invalid block export id");
    }
    if (export_find(id)) {
        return tm_error_set(errp, "Block export id '%s' is already in use", id);
    }
    return true;
}

static BlockNode *find_node(const char *name, GError **errp)
{
    BlockNode *node = block_node_find(name);

    if (!node) { /* QEMU names no device here, unlike in other commands */
        tm_error_set(errp, "Cannot find device='' nor node-name='%s'", name);
    }
    return node;
}

static bool check_writable(const BlockExportOptions *options, const BlockNode *node, GError **errp)
{
    if (options->has_writable && options->writable && node->options.read_only) {
        return tm_error_set(errp, "Cannot export read-only node as writable");
    }
    return true;
}

/* Only with fixed-iothread must the graph be on the iothread that was named. */
static bool co_move_graph(const BlockExportOptions *options, BlockNode *node, Loop *iothread,
                          GError **errp)
{
    bool fixed = options->has_fixed_iothread && options->fixed_iothread;
    g_autoptr(GError) ignored = NULL;

    return !iothread || node->loop == iothread ||
           co_block_graph_move(node, iothread, fixed ? errp : &ignored) || !fixed;
}

/* Others may do with the node what they like, but the size that clients were told stays. */
static bool co_attach_node(Export *export, BlockNode *node, GError **errp)
{
    unsigned perm = BLOCK_PERM_CONSISTENT_READ | (export->writable ? BLOCK_PERM_WRITE : 0);

    export->child = co_block_user_attach(export->user, node, "root", 0, perm,
                                         BLOCK_PERM_ALL & ~BLOCK_PERM_RESIZE, errp);
    return export->child != NULL;
}

static Export *export_new(const ExportDriver *driver, const BlockExportOptions *options)
{
    Export *export = g_malloc0(driver->size);

    export->driver = driver;
    export->id = g_strdup(options->id);
    export->writable = options->has_writable && options->writable;
    export->writethrough = options->has_writethrough && options->writethrough;
    export->user = block_user_new(&user_ops, export);
    export->user->pinned = options->has_fixed_iothread && options->fixed_iothread;
    return export;
}

static void co_export_free(Export *export)
{
    co_block_user_free(export->user);
    g_free(export->id);
    g_free(export);
}

static Export *co_create(const ExportDriver *driver, const BlockExportOptions *options,
                         BlockNode *node, GError **errp)
{
    Export *export = export_new(driver, options);

    if (!co_attach_node(export, node, errp) || !driver->co_create(export, options, errp)) {
        co_export_free(export);
        return NULL;
    }
    return export;
}

Export *co_export_add(const BlockExportOptions *options, Loop *iothread, GError **errp)
{
    const ExportDriver *driver;
    BlockNode *node;
    Export *export;

    g_assert(control_locked_by_me());
    if (!check_id(options->id, errp)) {
        return NULL;
    }
    driver = driver_find(options->type);
    if (!driver) {
        tm_error_set(errp, "No driver found for the requested export type");
        return NULL;
    }
    node = find_node(options->node_name, errp);
    if (!node || !check_writable(options, node, errp) ||
        (driver->check && !driver->check(options, errp)) ||
        !co_move_graph(options, node, iothread, errp)) {
        return NULL;
    }
    export = co_create(driver, options, node, errp);
    if (!export) {
        co_block_graph_send_home(node);
        return NULL;
    }
    export_list();
    g_ptr_array_add(table.exports, export);
    return export;
}

/* --- Removing --- */

static void announce_deleted(const Export *export)
{
    BlockExportDeletedEvent event = {.id = export->id};

    qmp_event_block_export_deleted(&event);
}

static void co_delete(Export *export)
{
    g_assert(export->clients == 0 && export->in_flight == 0);
    export->driver->co_delete(export);
    g_ptr_array_remove(table.exports, export);
    announce_deleted(export);
    co_export_free(export);
    co_queue_wake_all(&table.gone);
}

static void co_delete_later(void *opaque)
{
    co_control_lock();
    co_delete(opaque);
    control_unlock();
}

void export_client_begin(Export *export)
{
    g_assert(!export->shutting_down);
    export->clients++;
}

void co_export_client_end(Export *export)
{
    if (--export->clients == 0 && export->shutting_down) {
        co_start(co_delete_later, export);
    }
}

/* Holds a client's place meanwhile, so that it is here where the last one is seen to leave. */
static void co_shut_down(Export *export)
{
    if (export->shutting_down) {
        return;
    }
    export_client_begin(export);
    export->shutting_down = true;
    export->driver->co_request_shutdown(export);
    if (--export->clients == 0) {
        co_delete(export);
    }
}

bool co_export_del(const char *id, bool hard, GError **errp)
{
    Export *export = export_find(id);

    g_assert(control_locked_by_me());
    if (!export) {
        return tm_error_set(errp, "Export '%s' is not found", id);
    }
    if (!hard && export->clients) {
        return tm_error_set(errp, "export '%s' still in use", id);
    }
    co_shut_down(export);
    return true;
}

static Export *find_of_kind(const ExportDriver *driver, bool shutting_down)
{
    const GPtrArray *list = export_list();

    for (unsigned i = 0; i < list->len; i++) {
        Export *export = list->pdata[i];

        if ((!driver || export->driver == driver) && export->shutting_down == shutting_down) {
            return export;
        }
    }
    return NULL;
}

void co_export_remove_all(const ExportDriver *driver)
{
    Export *export;

    co_control_lock();
    while ((export = find_of_kind(driver, false))) {
        co_shut_down(export);
    }
    control_unlock();
    while (find_of_kind(driver, true)) {
        co_queue_wait(&table.gone);
    }
}
