/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line.
 *
 * It is read twice: first what concerns the process as a whole (so that nothing has been opened
 * when it forks, and a mistake further on is found at once), then all that makes things, which is
 * carried out in the order given: what one option names an earlier one must have made.
 */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <glib.h>
#include <stdbool.h>

/* An option that makes something: carried out in a coroutine on loop 0. */
typedef bool OptionFn(const char *arg, GError **errp);

typedef struct OptionStep {
    const char *name; /* "blockdev" */
    const char *arg;  /* of main()'s argv */
    OptionFn *co_fn;
    bool first;       /* carried out before the others, wherever it stands */
} OptionStep;

typedef struct Options {
    bool help, version;
    bool daemonize;
    const char *pidfile; /* or NULL */
    GArray *steps;       /* of OptionStep */
} Options;

/* Reads the command line; prints what is wrong with it, and is false then. */
bool options_read(Options *options, int argc, char **argv);
void options_clear(Options *options);

/* Carries out all steps up to the first that fails, which is told on stderr.  Loop 0. */
bool co_options_apply(const Options *options);

#endif
