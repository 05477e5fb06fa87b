/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Monitors; see monitor.h. */
#include "monitor/monitor.h"

#include "io/co-lock.h"
#include "monitor/chardev.h"
#include "monitor/session.h"
#include "util/error.h"

typedef struct Monitor {
    char *id; /* or NULL */
    Chardev *chardev;
    bool pretty;
    QmpSession *session; /* of the client that is connected, or NULL */
    bool running;
} Monitor;

/* All monitors. Loop 0. */
static struct {
    GPtrArray *all;
    bool stopped;
    CoQueue changed;
} monitors;

static void co_serve(Monitor *monitor, Socket *socket)
{
    monitor->session = qmp_session_new(socket, monitor->pretty);
    if (monitors.stopped) {
        qmp_session_stop(monitor->session);
    }
    co_qmp_session_run(monitor->session);
    g_clear_pointer(&monitor->session, qmp_session_free);
}

static void co_monitor(void *opaque)
{
    Monitor *monitor = opaque;
    Socket *socket;

    while ((socket = co_chardev_connection(monitor->chardev))) {
        co_serve(monitor, socket);
        chardev_disconnected(monitor->chardev);
    }
    monitor->running = false;
    co_queue_wake_all(&monitors.changed);
}

static bool has_id(const char *id)
{
    for (guint i = 0; i < monitors.all->len; i++) {
        if (g_strcmp0(((Monitor *)monitors.all->pdata[i])->id, id) == 0) {
            return true;
        }
    }
    return false;
}

bool monitor_add(const MonitorOptions *options, GError **errp)
{
    Chardev *chardev = chardev_find(options->chardev);
    Monitor *monitor;

    if (!monitors.all) {
        monitors.all = g_ptr_array_new();
    }
    if (!chardev) {
        return tm_error_set(errp, "chardev \"%s\" not found", options->chardev);
    }
    if (options->has_mode && options->mode != MONITOR_MODE_CONTROL) {
        return tm_error_set(errp, "only QMP is supported: 'mode' must be 'control'");
    }
    if (options->id && has_id(options->id)) {
        return tm_error_set(errp, "Duplicate ID '%s' for mon", options->id);
    }
    if (!chardev_claim(chardev, errp)) {
        return false;
    }
    monitor = g_new0(Monitor, 1);
    monitor->id = g_strdup(options->id);
    monitor->chardev = chardev;
    monitor->pretty = options->has_pretty && options->pretty;
    g_ptr_array_add(monitors.all, monitor);
    return true;
}

void monitors_start(void)
{
    for (guint i = 0; monitors.all && i < monitors.all->len; i++) {
        Monitor *monitor = monitors.all->pdata[i];

        monitor->running = true;
        co_start(co_monitor, monitor);
    }
}

void co_monitors_stop(void)
{
    monitors.stopped = true;
    for (guint i = 0; monitors.all && i < monitors.all->len; i++) {
        Monitor *monitor = monitors.all->pdata[i];

        if (monitor->session) {
            qmp_session_stop(monitor->session);
        }
        while (monitor->session && qmp_session_busy(monitor->session)) {
            co_qmp_session_wait(monitor->session);
        }
    }
}

void co_monitors_free(void)
{
    chardevs_stop();
    while (monitors.all && monitors.all->len) {
        Monitor *monitor = monitors.all->pdata[0];

        if (monitor->session) {
            qmp_session_close(monitor->session);
        }
        while (monitor->running) {
            co_queue_wait(&monitors.changed);
        }
        g_ptr_array_remove_index(monitors.all, 0);
        g_free(monitor->id);
        g_free(monitor);
    }
    g_clear_pointer(&monitors.all, g_ptr_array_unref);
}
