/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of the daemon on loop 0: set up, run until told to stop, stop cleanly. */
#ifndef DAEMON_LIFE_H
#define DAEMON_LIFE_H

#include "daemon/options.h"
#include "io/loop.h"

/*
 * Runs the whole of it on @loop, which is loop 0 and stopped when this returns; the exit status.
 * @parent_fd: of background_fork(), or -1.
 */
int life_run(Loop *loop, const Options *options, int parent_fd);

#endif
