/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events; see events.h. */
#include "monitor/events.h"

#include <glib.h>

#include "block/control.h"
#include "qmp-schema/event-sink.h"

/* Who listens. Loop 0. */
static GPtrArray *listeners;

/* QMP specification, "Asynchronous events": realtime, in two parts. */
static json_t *stamp(void)
{
    gint64 now = g_get_real_time();

    return json_pack("{s:I, s:I}", "seconds", (json_int_t)(now / G_USEC_PER_SEC), "microseconds",
                     (json_int_t)(now % G_USEC_PER_SEC));
}

static void deliver(void *opaque)
{
    json_t *event = opaque;

    for (guint i = 0; listeners && i < listeners->len; i++) {
        EventListener *listener = listeners->pdata[i];

        listener->fn(listener->opaque, event);
    }
    json_decref(event);
}

/*
 * What happens on loop 0 is sent at once, so that a command's events come before its reply.  What
 * comes from elsewhere is in the loop's inbox before the coroutine that caused it can be.
 */
static void sink(const char *name, json_t *data, void *opaque)
{
    json_t *event =
        json_pack("{s:s, s:o*, s:o}", "event", name, "data", data, "timestamp", stamp());

    if (loop_current() == control_loop()) {
        deliver(event);
    } else {
        loop_call(control_loop(), deliver, event);
    }
}

void events_start(void)
{
    listeners = g_ptr_array_new();
    qmp_event_set_sink(sink, NULL);
}

void events_stop(void)
{
    qmp_event_set_sink(NULL, NULL);
    g_clear_pointer(&listeners, g_ptr_array_unref);
}

void events_add_listener(EventListener *listener)
{
    g_ptr_array_add(listeners, listener);
}

void events_remove_listener(EventListener *listener)
{
    if (listeners) {
        g_ptr_array_remove(listeners, listener);
    }
}
