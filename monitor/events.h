/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events on their way from where they happen to the sessions.
 *
 * An event may happen on any thread.  It is stamped there, goes to loop 0 in the order of what its
 * thread does, and from there to every session that has negotiated.
 */
#ifndef MONITOR_EVENTS_H
#define MONITOR_EVENTS_H

#include <jansson.h>

/* Takes an event as it goes over the wire (borrowed). Loop 0, must not yield. */
typedef void EventListenerFn(void *opaque, json_t *event);

typedef struct EventListener {
    EventListenerFn *fn;
    void *opaque;
} EventListener;

/* Becomes the process's sink of events, or stops to be. Loop 0. */
void events_start(void);
void events_stop(void);

/* The listener must stay until it was removed. Loop 0. */
void events_add_listener(EventListener *listener);
void events_remove_listener(EventListener *listener);

#endif
