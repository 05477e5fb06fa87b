/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Standard input and output as a socket, for a monitor on a terminal or a pair of pipes. */
#ifndef MONITOR_STDIO_SOCKET_H
#define MONITOR_STDIO_SOCKET_H

#include "io/socket.h"

/* On loop 0. The descriptors stay open when it is freed. */
Socket *stdio_socket_new(void);

#endif
