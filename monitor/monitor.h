/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Monitors: QMP on a character device, one session after the other.  Loop 0. */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "qmp-schema/qmp-types.h"

/* Makes a monitor on the device that the options name. */
bool monitor_add(const MonitorOptions *options, GError **errp);

/* Lets all of them speak.  Until then clients wait: the command line is carried out first,
 * undisturbed. */
void monitors_start(void);

/* No session carries out a command any more: returns when the last one has ended. */
void co_monitors_stop(void);

/* Sends what is left to say, ends all sessions and forgets the monitors. */
void co_monitors_free(void);

#endif
