/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where events go. Rooms below monitor/ emit them by the generated qmp_event_NAME() functions of
 * qmp-schema/qmp-events.h, on any thread; monitor/ installs the sink.
 */
#ifndef QMP_SCHEMA_EVENT_SINK_H
#define QMP_SCHEMA_EVENT_SINK_H

#include <jansson.h>

/* Takes an event; @data (NULL for none) becomes the sink's. Called on any thread, at any time. */
typedef void QmpEventSink(const char *name, json_t *data, void *opaque);

/*
 * Sets the process's one sink, or none (NULL; events are then dropped). When it returns, no other
 * thread is inside the sink that was set before. Not to be called from a sink.
 */
void qmp_event_set_sink(QmpEventSink *sink, void *opaque);

/* Sends an event; for generated code. Takes @data over. */
void qmp_event_send(const char *name, json_t *data);

#endif
