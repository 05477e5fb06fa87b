/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From QMP's SocketAddress to what io/socket.h takes; see socket-address.h. */
#include "block/socket-address.h"

#include <fcntl.h>

#include "io/listen-fds.h"
#include "util/error.h"

static bool parse_number(const char *text, uint64_t max, uint64_t *value)
{
    return g_ascii_string_to_unsigned(text, 10, 0, max, value, NULL);
}

static bool inet_of(const InetSocketAddress *inet, SocketAddr *addr, GError **errp)
{
    bool no_ipv4 = inet->has_ipv4 && !inet->ipv4, no_ipv6 = inet->has_ipv6 && !inet->ipv6;

    if (no_ipv4 && no_ipv6) {
        return tm_error_set(errp, "Cannot disable IPv4 and IPv6 at same time");
    }
    *addr = (SocketAddr){
        .kind = SOCKET_ADDR_TCP,
        .host = inet->host,
        .port = inet->port,
        /* As in QEMU, switching one family off means the other one. */
        .ipv4 = inet->has_ipv4 ? inet->ipv4 : no_ipv6,
        .ipv6 = inet->has_ipv6 ? inet->ipv6 : no_ipv4,
        .numeric = inet->has_numeric && inet->numeric,
        .mptcp = inet->has_mptcp && inet->mptcp,
        .last_port = inet->has_to ? inet->to : 0,
        .keep_alive = inet->has_keep_alive && inet->keep_alive,
    };
    return true;
}

static bool unix_of(const UnixSocketAddress *address, SocketAddr *addr)
{
    *addr = (SocketAddr){
        .kind = SOCKET_ADDR_UNIX,
        .path = address->path,
        .abstract = address->has_abstract && address->abstract,
        .tight = !address->has_tight || address->tight,
    };
    return true;
}

static bool vsock_of(const VsockSocketAddress *address, SocketAddr *addr, GError **errp)
{
    uint64_t cid, port;

    if (!parse_number(address->cid, G_MAXUINT32, &cid)) {
        return tm_error_set(errp, "Failed to parse cid '%s'", address->cid);
    }
    if (!parse_number(address->port, G_MAXUINT32, &port)) {
        return tm_error_set(errp, "Failed to parse port '%s'", address->port);
    }
    *addr = (SocketAddr){.kind = SOCKET_ADDR_VSOCK, .cid = cid, .vsock_port = port};
    return true;
}

/*
 * Our own descriptors are close-on-exec, those that the daemon got from the process that started it
 * cannot be; so that nobody can name one of our own.
 */
static bool fd_of(const FdSocketAddress *address, SocketAddr *addr, GError **errp)
{
    uint64_t number;
    int fd = parse_number(address->str, G_MAXINT, &number) ? (int)number
                                                           : listen_fds_find(address->str);

    if (fd < 0) {
        return tm_error_set(errp, "File descriptor named '%s' has not been found", address->str);
    }
    if (fcntl(fd, F_GETFD) > 0) {
        return tm_error_set(errp, "File descriptor '%d' is in use", fd);
    }
    *addr = (SocketAddr){.kind = SOCKET_ADDR_FD, .fd = fd};
    return true;
}

bool socket_address_translate(const SocketAddress *address, SocketAddr *addr, GError **errp)
{
    switch (address->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        return inet_of(&address->u.inet, addr, errp);
    case SOCKET_ADDRESS_TYPE_UNIX:
        return unix_of(&address->u.q_unix, addr);
    case SOCKET_ADDRESS_TYPE_VSOCK:
        return vsock_of(&address->u.vsock, addr, errp);
    default:
        return fd_of(&address->u.fd, addr, errp);
    }
}
