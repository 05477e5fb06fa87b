/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connecting a socket for the nbd driver; see nbd.h. */
#include "block/drivers/nbd.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

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

static bool addr_of(const SocketAddress *address, SocketAddr *addr, GError **errp)
{
    *addr = (SocketAddr){0};
    switch (address->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        if (address->u.inet.has_mptcp && address->u.inet.mptcp) {
            return tm_error_set(errp, "Parameter 'mptcp' is not supported by the nbd driver");
        }
        inet_of(&address->u.inet, addr);
        return true;
    case SOCKET_ADDRESS_TYPE_UNIX:
        addr->kind = SOCKET_ADDR_UNIX;
        addr->path = address->u.q_unix.path;
        addr->abstract = address->u.q_unix.has_abstract && address->u.q_unix.abstract;
        addr->tight = !address->u.q_unix.has_tight || address->u.q_unix.tight;
        return true;
    case SOCKET_ADDRESS_TYPE_FD:
        return fd_of(&address->u.fd, addr, errp);
    default:
        return tm_error_set(errp, "Sockets of type '%s' are not supported by the nbd driver",
                            SocketAddressType_name(address->type));
    }
}

bool nbdc_dial_check(const SocketAddress *address, GError **errp)
{
    SocketAddr addr;

    return addr_of(address, &addr, errp);
}

/* The descriptor without the Socket around it. */
static int take_fd(Socket *socket, GError **errp)
{
    int fd = fcntl(socket_fd(socket), F_DUPFD_CLOEXEC, 0);

    if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
        tm_error_set_errno(errp, errno, "Could not use the socket to %s", socket->peer);
        if (fd >= 0) {
            close(fd);
        }
        fd = -1;
    }
    socket_free(socket);
    return fd;
}

static int co_connect(NbdcDial *dial, GError **errp)
{
    SocketAddr addr;
    Socket *socket;

    if (!addr_of(dial->address, &addr, errp)) {
        return -1;
    }
    socket = co_socket_connect_or_cancel(&dial->connect, &addr, errp);
    return socket ? take_fd(socket, errp) : -1;
}

static void drop_result(int fd, GError *error)
{
    if (fd >= 0) {
        close(fd);
    }
    g_clear_error(&error);
}

static void co_dial(void *opaque)
{
    NbdcDial *dial = opaque;
    GError *error = NULL;
    int fd = co_connect(dial, &error);

    dial->running = false;
    co_queue_wake_all(&dial->ended);
    if (dial->connect.cancelled) {
        drop_result(fd, error);
    } else {
        dial->fn(dial->opaque, fd, error);
    }
}

void nbdc_dial_start(NbdcDial *dial, const SocketAddress *address, NbdcDialFn *fn, void *opaque)
{
    g_assert(!dial->running);
    *dial = (NbdcDial){.address = address, .fn = fn, .opaque = opaque, .running = true};
    co_start(co_dial, dial);
}

void nbdc_dial_cancel(NbdcDial *dial)
{
    if (dial->running) {
        socket_connect_cancel(&dial->connect);
    }
}

void co_nbdc_dial_end(NbdcDial *dial)
{
    nbdc_dial_cancel(dial);
    while (dial->running) {
        co_queue_wait(&dial->ended);
    }
}
