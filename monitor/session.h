/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A QMP session: one client on one connection.
 *
 * Three coroutines on loop 0: the reader turns bytes into a short queue of requests, the executor
 * carries them out in order, the writer sends what there is to say.  A client that sends too much
 * waits; one that does not read is dropped when too much is kept for it, and never holds up the
 * daemon.
 */
#ifndef MONITOR_SESSION_H
#define MONITOR_SESSION_H

#include "io/socket.h"

#define QMP_SESSION_MAX_REQUESTS 8         /* read ahead */
#define QMP_SESSION_MAX_OUTPUT (16u << 20) /* bytes not yet taken by the client */
#define QMP_SESSION_GOODBYE_NS 2000000000  /* for a client to take the last replies */

#define QMP_SESSION_READ_BYTES 4096

typedef struct QmpSession QmpSession;

/* The session owns @socket. */
QmpSession *qmp_session_new(Socket *socket, bool pretty);

/* Greets, and serves the client until it leaves or qmp_session_close() (then after the command that
 * runs). */
void co_qmp_session_run(QmpSession *session);

/* Carry out no command that has not begun; events are still sent. */
void qmp_session_stop(QmpSession *session);

/* Makes co_qmp_session_run() return soon: what is to be said is still sent. */
void qmp_session_close(QmpSession *session);

/* Is a command being carried out? */
bool qmp_session_busy(const QmpSession *session);
/* Waits until one has been; the session may be gone then. */
void co_qmp_session_wait(QmpSession *session);

void qmp_session_free(QmpSession *session);

#endif
