/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QMP messages: what a request must look like, the command that it names, the reply.
 *
 * The rules and the texts of errors are those of QEMU 10.0.
 */
#ifndef MONITOR_MESSAGE_H
#define MONITOR_MESSAGE_H

#include <jansson.h>
#include <stdbool.h>

#include "util/error.h"

/* A member "id" that is nested deeper is refused, and not given back. */
#define QMP_MAX_ID_DEPTH 100

/* What a session has negotiated. */
typedef struct QmpMode {
    bool negotiated;
    bool oob; /* "exec-oob" may be used; no command allows it */
} QmpMode;

/*
 * Carries out the request @input (any JSON value; @text is how it was written) and returns the
 * reply as it goes over the wire.  Changes @mode when the command was qmp_capabilities.  In a
 * coroutine on loop 0; may yield.
 */
char *co_qmp_answer(json_t *input, const char *text, QmpMode *mode, bool pretty);

/* The reply to what is no JSON at all. */
char *qmp_refuse(const char *error, bool pretty);

/* What the daemon says first. */
json_t *qmp_greeting(void);

/* The value of query-version. */
json_t *qmp_version(void);

/* How it goes over the wire: one line, or indented; "\r\n" ends each line. Freed by the caller. */
char *qmp_format(const json_t *message, bool pretty);

#endif
