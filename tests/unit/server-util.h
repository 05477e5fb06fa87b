/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests: other programs that the test starts, and ends by their id. */
#ifndef TESTS_UNIT_SERVER_UTIL_H
#define TESTS_UNIT_SERVER_UTIL_H

#include <signal.h>
#include <sys/wait.h>

#include <glib.h>

static inline bool program_there(const char *name)
{
    g_autofree char *path = g_find_program_in_path(name);

    if (!path) {
        g_test_skip("a program is missing");
    }
    return path != NULL;
}

/* Starts a command of words with spaces between them. */
static inline GPid program_start(const char *command)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) argv = g_strsplit(command, " ", -1);
    GPid pid;

    g_spawn_async(NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                  &pid, &error);
    g_assert_no_error(error);
    return pid;
}

static inline void program_kill(GPid pid)
{
    int status;

    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
}

/* Runs a command to its end and returns what it printed (to be freed); *status as from waitpid().
 */
static inline char *program_run(const char *command, int *status)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *err = NULL;
    char *out = NULL;

    g_spawn_command_line_sync(command, &out, &err, status, &error);
    g_assert_no_error(error);
    char *both = g_strconcat(out, err, NULL);
    g_free(out);
    return both;
}

#endif
