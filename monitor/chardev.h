/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Character devices: where monitors get their connections from.
 *
 * A device has one client at a time.  A server takes the next one when the last has left; a client
 * connects (again, where it is told to) when it is asked for a connection.
 */
#ifndef MONITOR_CHARDEV_H
#define MONITOR_CHARDEV_H

#include "io/socket.h"
#include "qmp-schema/qmp-types.h"

typedef struct Chardev Chardev;

/*
 * Makes a socket device: a server listens from now on and, with wait, returns when the first client
 * has come; a client that does not reconnect is connected when this returns.  Loop 0.
 */
bool co_chardev_add_socket(const ChardevSocketOptions *options, GError **errp);

/* The device of standard input and output. There can be one, and none after
 * chardevs_forbid_stdio(). */
bool chardev_add_stdio(const char *id, GError **errp);
void chardevs_forbid_stdio(void);

/* The device of that name, or NULL. */
Chardev *chardev_find(const char *id);

/* Makes the device a monitor's, for good; false where it is another's. */
bool chardev_claim(Chardev *chardev, GError **errp);

/* The next connection, or NULL when there will be none.  One coroutine at a time. */
Socket *co_chardev_connection(Chardev *chardev);
/* That connection has ended: the caller has freed it. */
void chardev_disconnected(Chardev *chardev);

/* Whoever waits for a connection gets none. */
void chardevs_stop(void);
/* Stops listening, and frees all. Nobody may wait. */
void co_chardevs_free(void);

#endif
