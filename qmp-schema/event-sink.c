/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one sink of events. It is the process's, like standard error: an event belongs to no session,
 * and the rooms that emit it know of none. Readers share the lock, so that threads do not wait for
 * each other.
 */
#include "qmp-schema/event-sink.h"

#include <glib.h>

static struct {
    GRWLock lock;
    QmpEventSink *send;
    void *opaque;
} event_sink;

void qmp_event_set_sink(QmpEventSink *sink, void *opaque)
{
    g_rw_lock_writer_lock(&event_sink.lock);
    event_sink.send = sink;
    event_sink.opaque = opaque;
    g_rw_lock_writer_unlock(&event_sink.lock);
}

void qmp_event_send(const char *name, json_t *data)
{
    g_rw_lock_reader_lock(&event_sink.lock);
    if (event_sink.send) {
        event_sink.send(name, data, event_sink.opaque);
    } else {
        json_decref(data);
    }
    g_rw_lock_reader_unlock(&event_sink.lock);
}
