/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QEMU's rule for the ids that users give to objects, devices and monitors. */
#ifndef MONITOR_IDS_H
#define MONITOR_IDS_H

#include <glib.h>
#include <stdbool.h>
#include <string.h>

/* A letter, then letters, digits, '-', '.', '_'. */
static inline bool id_is_wellformed(const char *id)
{
    bool ok = g_ascii_isalpha(id[0]);

    for (const char *c = id; ok && *c; c++) {
        ok = g_ascii_isalnum(*c) || strchr("-._", *c);
    }
    return ok;
}

#endif
