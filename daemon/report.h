/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the daemon says on stderr. */
#ifndef DAEMON_REPORT_H
#define DAEMON_REPORT_H

#include <glib.h>

/* "tidemarkd: …" and a newline. */
void report(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Lets g_warning() and g_message() of all rooms look the same. */
void report_take_log(void);

#endif
