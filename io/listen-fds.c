/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sockets passed by a service manager; see listen-fds.h. */
#include "io/listen-fds.h"

#include <glib.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define FIRST_FD 3 /* the protocol's */

/* The number in the variable; 0 where there is none. */
static uint64_t number_of(const char *variable)
{
    const char *text = g_getenv(variable);
    uint64_t number = 0;

    if (text) {
        g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT - FIRST_FD, &number, NULL);
    }
    return number;
}

void listen_fds_check_pid(void)
{
    if (number_of("LISTEN_PID") != (uint64_t)getpid()) {
        g_unsetenv("LISTEN_FDS");
    }
    g_unsetenv("LISTEN_PID"); /* the id may change when the daemon goes to the background */
}

int listen_fds_find(const char *name)
{
    const char *names = g_getenv("LISTEN_FDNAMES");
    g_auto(GStrv) list = g_strsplit(names ? names : "", ":", -1);
    uint64_t count = MIN(number_of("LISTEN_FDS"), g_strv_length(list));

    for (uint64_t i = 0; i < count; i++) {
        if (strcmp(list[i], name) == 0) {
            return FIRST_FD + (int)i;
        }
    }
    return -1;
}
