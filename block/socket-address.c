/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From QMP's SocketAddress to what io/socket.h takes; see socket-address.h. */
#include "block/socket-address.h"

#include "util/error.h"

static void inet_of(const InetSocketAddress *inet, SocketAddr *addr)
{
    addr->kind = SOCKET_ADDR_TCP;
    addr->host = inet->host;
    addr->port = inet->port;
    /* As in QEMU, switching one family off means the other one. */
    addr->ipv4 = inet->has_ipv4 ? inet->ipv4 : inet->has_ipv6 && !inet->ipv6;
    addr->ipv6 = inet->has_ipv6 ? inet->ipv6 : inet->has_ipv4 && !inet->ipv4;
    addr->keep_alive = inet->has_keep_alive && inet->keep_alive;
}

static void unix_of(const UnixSocketAddress *address, SocketAddr *addr)
{
    addr->kind = SOCKET_ADDR_UNIX;
    addr->path = address->path;
    addr->abstract = address->has_abstract && address->abstract;
    addr->tight = !address->has_tight || address->tight;
}

static bool fd_of(const FdSocketAddress *address, SocketAddr *addr, GError **errp)
{
    uint64_t fd;

    if (!g_ascii_string_to_unsigned(address->str, 10, 0, G_MAXINT, &fd, NULL)) {
        return tm_error_set(errp, "File descriptor named '%s' has not been found", address->str);
    }
    addr->kind = SOCKET_ADDR_FD;
    addr->fd = (int)fd;
    return true;
}

bool socket_address_translate(const SocketAddress *address, const char *what, SocketAddr *addr,
                              GError **errp)
{
    *addr = (SocketAddr){ 0 };
    switch (address->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        if (address->u.inet.has_mptcp && address->u.inet.mptcp) {
            return tm_error_set(errp, "Parameter 'mptcp' is not supported by %s", what);
        }
        inet_of(&address->u.inet, addr);
        return true;
    case SOCKET_ADDRESS_TYPE_UNIX:
        unix_of(&address->u.q_unix, addr);
        return true;
    case SOCKET_ADDRESS_TYPE_FD:
        return fd_of(&address->u.fd, addr, errp);
    default:
        return tm_error_set(errp, "Sockets of type '%s' are not supported by %s",
                            SocketAddressType_name(address->type), what);
    }
}
