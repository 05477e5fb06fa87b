/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What --help and --version print. */
#ifndef DAEMON_HELP_H
#define DAEMON_HELP_H

void print_help(void);
void print_version(void);

#endif
