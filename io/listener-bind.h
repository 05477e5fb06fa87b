/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Binding listening sockets: private to io/. */
#ifndef IO_LISTENER_BIND_H
#define IO_LISTENER_BIND_H

#include <sys/types.h>

#include "io/socket-addr.h"

/* What an address was bound to. */
typedef struct ListenerBinding {
    GArray *fds;   /* of int: listening descriptors, at least one */
    char *address; /* the first one's, as sock_name_format() writes it */
    char *path;    /* of a socket file to be removed at the end, or NULL */
    dev_t dev;     /* the file */
    ino_t ino;
} ListenerBinding;

/* False with @errp set, and nothing left behind, on failure. */
bool co_listener_bind(const SocketAddr *addr, int backlog, ListenerBinding *binding,
                      GError **errp);

/* Closes all and removes the socket file, if it is still ours. */
void listener_unbind(ListenerBinding *binding);

#endif
