/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the daemon says on stderr; see report.h. */
#include "daemon/report.h"

#include <stdio.h>

void report(const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    fprintf(stderr, "tidemarkd: %s\n", text);
}

static void take_log(const char *domain, GLogLevelFlags level, const char *message, void *unused)
{
    const char *prefix = level & G_LOG_LEVEL_WARNING   ? "warning: "
                         : level & G_LOG_LEVEL_MESSAGE ? "info: "
                                                       : "";

    report("%s%s", prefix, message);
}

void report_take_log(void)
{
    g_log_set_default_handler(take_log, NULL);
}
