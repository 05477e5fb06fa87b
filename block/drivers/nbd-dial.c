/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connecting a socket for the nbd driver, so that nobody needs to wait for it; see nbd.h. */
#include "block/control.h"
#include "block/drivers/nbd.h"
#include "io/socket.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/*
 * Made on the client's loop; the coroutine on loop 0 owns it.  A loop ends only by loop 0's doing,
 * after its nodes were closed or moved away, that is, after their dials were abandoned: so loop 0
 * may send the result to a loop whose dial it finds not abandoned.
 */
struct NbdcDial {
    SocketAddress *address;
    Loop *loop;
    int abandoned; /* atomic; set by the client's loop */
    NbdcDialFn *fn;
    void *opaque;
    int fd;
    GError *error;
};

static void dial_free(NbdcDial *dial)
{
    if (dial->fd >= 0) {
        close(dial->fd);
    }
    g_clear_error(&dial->error);
    SocketAddress_free(dial->address);
    g_free(dial);
}

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

static int co_connect(const SocketAddress *address, GError **errp)
{
    SocketAddr addr;
    Socket *socket;

    if (!addr_of(address, &addr, errp)) {
        return -1;
    }
    socket = co_socket_connect(&addr, errp);
    return socket ? take_fd(socket, errp) : -1;
}

static void deliver(void *opaque)
{
    NbdcDial *dial = opaque;

    if (!g_atomic_int_get(&dial->abandoned)) {
        int fd = dial->fd;

        dial->fd = -1;
        dial->fn(dial->opaque, fd, g_steal_pointer(&dial->error));
    }
    dial_free(dial);
}

static void co_dial(void *opaque)
{
    NbdcDial *dial = opaque;

    dial->fd = co_connect(dial->address, &dial->error);
    if (g_atomic_int_get(&dial->abandoned)) {
        dial_free(dial);
    } else {
        loop_call(dial->loop, deliver, dial);
    }
}

NbdcDial *nbdc_dial_start(const SocketAddress *address, NbdcDialFn *fn, void *opaque)
{
    NbdcDial *dial = g_new(NbdcDial, 1);

    *dial = (NbdcDial){
        .address = SocketAddress_copy(address),
        .loop = loop_current(),
        .fn = fn,
        .opaque = opaque,
        .fd = -1,
    };
    co_start_on(control_loop(), co_dial, dial);
    return dial;
}

void nbdc_dial_abandon(NbdcDial *dial)
{
    if (dial) {
        g_atomic_int_set(&dial->abandoned, 1);
    }
}
