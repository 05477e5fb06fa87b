/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the commands of the session itself need from the daemon. */
#ifndef MONITOR_CONTROL_COMMANDS_H
#define MONITOR_CONTROL_COMMANDS_H

/* What "quit" calls, on loop 0: must return at once. */
void monitor_set_quit(void (*fn)(void *opaque), void *opaque);

#endif
