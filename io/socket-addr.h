/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Socket addresses as the kernel takes them: private to io/. */
#ifndef IO_SOCKET_ADDR_H
#define IO_SOCKET_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <linux/vm_sockets.h>

#include "io/socket.h"

typedef struct SockName {
    socklen_t len;
    union {
        struct sockaddr sa;
        struct sockaddr_un un;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_vm vm;
        struct sockaddr_storage storage;
    };
} SockName;

/*
 * The names that @addr (not an FD) stands for, an array of at least one SockName; NULL on
 * failure. @passive: to bind to (an empty host is any).  TCP names are looked up in the worker
 * pool.
 */
GArray *co_socket_resolve(const SocketAddr *addr, bool passive, GError **errp);

/* "unix:/path", "unix:@abstract", "127.0.0.1:10809", "[::1]:10809", "vsock:2:10809". */
char *sock_name_format(const SockName *name);

/* Fails unless @fd is a socket: "File descriptor '7' is not a socket". */
bool socket_check_fd(int fd, GError **errp);

/* An unconnected stream socket of the family of @name, or -errno. */
int socket_open(const SocketAddr *addr, const SockName *name);

/* An inherited descriptor: from now on it is one of our own. */
void socket_take_fd(int fd);

/* Sets what every TCP connection has. */
void socket_tune(int fd, const SockName *name, bool keep_alive);

#endif
