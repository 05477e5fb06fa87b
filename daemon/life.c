/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of the daemon; see life.h. */
#include "daemon/life.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "block/control.h"
#include "block/driver.h"
#include "block/export.h"
#include "block/jobs/job.h"
#include "block/objects/user-object.h"
#include "daemon/background.h"
#include "daemon/report.h"
#include "io/worker.h"
#include "monitor/chardev.h"
#include "monitor/control-commands.h"
#include "monitor/events.h"
#include "monitor/monitor.h"
#include "nbd-export/server.h"
#include "util/error.h"

typedef struct Life {
    const Options *options;
    Loop *loop;
    int parent_fd;
    char *pidfile; /* absolute, or NULL */
    int pidfile_fd;
    int signal_fd;
    LoopWatch *signals;
    bool stop;
    CoQueue stopped; /* woken when stop is set */
    int status;
} Life;

/* --- being told to stop --- */

static void stop(void *opaque)
{
    Life *life = opaque;

    life->stop = true;
    control_stop();
    chardevs_stop(); /* the start may wait for a first client */
    co_queue_wake_all(&life->stopped);
}

static void on_signal(void *opaque, int revents)
{
    Life *life = opaque;
    struct signalfd_siginfo info;

    if (read(life->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        stop(life);
    }
}

/* The signals are blocked (main.c), in all threads: they come out of the descriptor only. */
static bool watch_signals(Life *life, GError **errp)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    life->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (life->signal_fd < 0) {
        return tm_error_set_errno(errp, errno, "cannot receive signals");
    }
    life->signals = loop_watch_new(life->signal_fd, on_signal, life);
    loop_watch_set(life->signals, POLLIN);
    return true;
}

static void unwatch_signals(Life *life)
{
    loop_watch_free(life->signals);
    if (life->signal_fd >= 0) {
        close(life->signal_fd);
    }
}

/* --- start --- */

static bool create_pidfile(Life *life, GError **errp)
{
    if (!life->options->pidfile) {
        return true;
    }
    life->pidfile_fd = pidfile_create(life->options->pidfile, errp);
    if (life->pidfile_fd >= 0) {
        life->pidfile = g_canonicalize_filename(life->options->pidfile, NULL);
    }
    return life->pidfile_fd >= 0;
}

static bool detach(Life *life, GError **errp)
{
    return life->parent_fd < 0 || background_ready(life->parent_fd, errp);
}

/* All that was asked for is there: from now on others may count on it. */
static bool announce(Life *life)
{
    g_autoptr(GError) error = NULL;

    if (!create_pidfile(life, &error) || !detach(life, &error)) {
        report("%s", error->message);
        return false;
    }
    return true;
}

static bool co_start_up(Life *life)
{
    g_autoptr(GError) error = NULL;

    if (!watch_signals(life, &error)) {
        report("%s", error->message);
        return false;
    }
    return co_options_apply(life->options) && (life->stop || announce(life));
}

/* --- stop --- */

static BlockNode *last_node_of_user(void)
{
    const GPtrArray *nodes = block_nodes();

    for (guint i = nodes->len; i-- > 0;) {
        BlockNode *node = nodes->pdata[i];

        if (node->by_user) {
            return node;
        }
    }
    return NULL;
}

/* Flushes and closes all: only what users hold is left, and what is below it goes with it. */
static void co_close_nodes(void)
{
    BlockNode *node;

    co_control_lock();
    while ((node = last_node_of_user())) {
        node->by_user = false;
        co_block_node_unref(node);
    }
    control_unlock();
}

static void co_tear_down(Life *life)
{
    co_monitors_stop();
    co_jobs_cancel_all();
    if (nbd_server_running()) {
        co_nbd_server_stop(NULL);
    }
    co_export_remove_all(NULL);
    co_close_nodes();
    user_objects_free();
    co_monitors_free();
    co_chardevs_free();
    if (life->pidfile) {
        pidfile_remove(life->pidfile, life->pidfile_fd);
    }
    unwatch_signals(life);
}

/* --- */

static void co_life(void *opaque)
{
    Life *life = opaque;

    if (co_start_up(life)) {
        monitors_start();
    } else {
        life->status = EXIT_FAILURE;
        life->stop = true;
    }
    while (!life->stop) {
        co_queue_wait(&life->stopped);
    }
    co_tear_down(life);
    loop_stop(life->loop);
}

int life_run(Loop *loop, const Options *options, int parent_fd)
{
    Life life = {
        .options = options,
        .loop = loop,
        .parent_fd = parent_fd,
        .pidfile_fd = -1,
        .signal_fd = -1,
    };

    control_init(loop);
    block_drivers_register();
    export_driver_register(&nbd_export_driver);
    events_start();
    monitor_set_quit(stop, &life);
    if (parent_fd >= 0) {
        chardevs_forbid_stdio();
    }
    co_start_on(loop, co_life, &life);
    loop_run(loop);
    events_stop();
    worker_pool_shutdown();
    g_free(life.pidfile);
    return life.status;
}
