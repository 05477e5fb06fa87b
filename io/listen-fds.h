/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listening sockets that a service manager passes to the daemon (systemd's socket activation): by
 * the variables LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES.
 */
#ifndef IO_LISTEN_FDS_H
#define IO_LISTEN_FDS_H

/*
 * Forgets the variables if they are meant for another process.  In the first process of the daemon,
 * before there are threads.
 */
void listen_fds_check_pid(void);

/* The descriptor of that name, or -1. */
int listen_fds_find(const char *name);

#endif
