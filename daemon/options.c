/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line; see options.h. */
#include "daemon/options.h"

#include <getopt.h>

#include "daemon/report.h"
#include "daemon/steps.h"

enum {
    OPTION_FLAGS = 256, /* what concerns the process */
    OPTION_DAEMONIZE = OPTION_FLAGS,
    OPTION_PIDFILE,
    OPTION_STEPS, /* step_table[code - OPTION_STEPS] */
};

/* In the order of OPTION_STEPS. */
static const OptionStep step_table[] = {
    {.name = "blockdev", .co_fn = co_step_blockdev},
    {.name = "chardev", .co_fn = co_step_chardev},
    {.name = "export", .co_fn = co_step_export},
    {.name = "image-folders", .co_fn = co_step_image_folders, .first = true},
    {.name = "monitor", .co_fn = co_step_monitor},
    {.name = "nbd-server", .co_fn = co_step_nbd_server},
    {.name = "object", .co_fn = co_step_object},
    {.name = "scratch-dir", .co_fn = co_step_scratch_dir, .first = true},
};

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"trace", required_argument, NULL, 'T'},
    {"daemonize", no_argument, NULL, OPTION_DAEMONIZE},
    {"pidfile", required_argument, NULL, OPTION_PIDFILE},
    {"blockdev", required_argument, NULL, OPTION_STEPS + 0},
    {"chardev", required_argument, NULL, OPTION_STEPS + 1},
    {"export", required_argument, NULL, OPTION_STEPS + 2},
    {"image-folders", required_argument, NULL, OPTION_STEPS + 3},
    {"monitor", required_argument, NULL, OPTION_STEPS + 4},
    {"nbd-server", required_argument, NULL, OPTION_STEPS + 5},
    {"object", required_argument, NULL, OPTION_STEPS + 6},
    {"scratch-dir", required_argument, NULL, OPTION_STEPS + 7},
    {0},
};

static bool read_one(Options *options, int code)
{
    OptionStep step;

    switch (code) {
    case 'h':
        options->help = true;
        return true;
    case 'V':
        options->version = true;
        return true;
    case 'T':
        return true; /* taken for the sake of scripts: there is nothing to trace */
    case OPTION_DAEMONIZE:
        options->daemonize = true;
        return true;
    case OPTION_PIDFILE:
        options->pidfile = optarg;
        return true;
    case 1: /* as "-" at the start of the short options makes getopt_long() tell it */
        report("%s: Unexpected argument", optarg);
        return false;
    case '?':
        return false; /* getopt_long() has said why */
    }
    step = step_table[code - OPTION_STEPS];
    step.arg = optarg;
    if (step.first) {
        g_array_prepend_val(options->steps, step);
    } else {
        g_array_append_val(options->steps, step);
    }
    return true;
}

bool options_read(Options *options, int argc, char **argv)
{
    int code;

    *options = (Options){.steps = g_array_new(false, false, sizeof(OptionStep))};
    while ((code = getopt_long(argc, argv, "-hT:V", long_options, NULL)) != -1) {
        if (!read_one(options, code)) {
            return false;
        }
        if (options->help || options->version) {
            return true; /* as in QEMU: whatever comes behind */
        }
    }
    if (optind < argc) { /* behind "--" */
        report("%s: Unexpected argument", argv[optind]);
        return false;
    }
    return true;
}

void options_clear(Options *options)
{
    g_array_free(options->steps, true);
}

bool co_options_apply(const Options *options)
{
    for (guint i = 0; i < options->steps->len; i++) {
        const OptionStep *step = &g_array_index(options->steps, OptionStep, i);
        g_autoptr(GError) error = NULL;

        if (!step->co_fn(step->arg, &error)) {
            report("--%s %s: %s", step->name, step->arg, error->message);
            return false;
        }
    }
    return true;
}
