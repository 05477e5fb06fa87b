/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* tidemarkd: what must happen before there is a loop. */
#include <signal.h>
#include <stdlib.h>

#include "daemon/background.h"
#include "daemon/help.h"
#include "daemon/life.h"
#include "daemon/report.h"
#include "io/listen-fds.h"

/* In force for every thread that is made later; life.c takes them from a descriptor. */
static void block_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN); /* a client that leaves is told by errors of writes */
    signal(SIGXFSZ, SIG_IGN); /* so is a file that may not grow (I5: a spill file ends no daemon) */
}

static int run(const Options *options, int parent_fd)
{
    g_autoptr(GError) error = NULL;
    Loop *loop = loop_new("tidemarkd", &error);
    int status;

    if (!loop) {
        report("%s", error->message);
        return EXIT_FAILURE;
    }
    status = life_run(loop, options, parent_fd);
    loop_free(loop);
    return status;
}

static int start(const Options *options)
{
    g_autoptr(GError) error = NULL;
    int parent_fd = -1;

    if (options->help || options->version) {
        (options->help ? print_help : print_version)();
        return EXIT_SUCCESS;
    }
    block_signals();
    if (options->daemonize) {
        parent_fd = background_fork(&error);
        if (parent_fd < 0) {
            report("%s", error->message);
            return EXIT_FAILURE;
        }
    }
    return run(options, parent_fd);
}

int main(int argc, char **argv)
{
    Options options;
    int status = EXIT_FAILURE;

    report_take_log();
    listen_fds_check_pid();
    if (options_read(&options, argc, argv)) {
        status = start(&options);
    }
    options_clear(&options);
    return status;
}
