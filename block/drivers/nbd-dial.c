/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connecting a socket for the nbd driver; see nbd.h. */
#include "block/control.h"
#include "block/drivers/nbd.h"
#include "block/socket-address.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

bool nbdc_dial_check(const SocketAddress *address, GError **errp)
{
    SocketAddr addr;

    return socket_address_translate(address, &addr, errp);
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

/* The socket's second descriptor is there for nbdc_dial_cancel(), on this loop. */
static Socket *co_secure(NbdcDial *dial, Socket *socket, GError **errp)
{
    Loop *home = loop_current();

    dial->secured_fd = fcntl(socket_fd(socket), F_DUPFD_CLOEXEC, 0);
    if (dial->secured_fd < 0) {
        tm_error_set_errno(errp, errno, "Could not use the socket to %s", socket->peer);
        socket_free(socket);
        return NULL;
    }
    co_move(control_loop());
    socket = co_nbdc_tls_start(dial->tls, socket, errp);
    co_move(home);
    close(dial->secured_fd);
    dial->secured_fd = -1;
    return socket;
}

static int co_connect(NbdcDial *dial, GError **errp)
{
    SocketAddr addr;
    Socket *socket;

    if (!socket_address_translate(dial->address, &addr, errp)) {
        return -1;
    }
    socket = co_socket_connect_or_cancel(&dial->connect, &addr, errp);
    if (socket && dial->tls->creds) {
        socket = co_secure(dial, socket, errp);
    }
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

void nbdc_dial_start(NbdcDial *dial, const SocketAddress *address, NbdcTls *tls, NbdcDialFn *fn,
                     void *opaque)
{
    g_assert(!dial->running);
    *dial = (NbdcDial){
        .address = address,
        .tls = tls,
        .secured_fd = -1,
        .fn = fn,
        .opaque = opaque,
        .running = true,
    };
    co_start(co_dial, dial);
}

void nbdc_dial_cancel(NbdcDial *dial)
{
    if (dial->running) {
        socket_connect_cancel(&dial->connect);
        if (dial->secured_fd >= 0) {
            shutdown(dial->secured_fd, SHUT_RDWR);
        }
    }
}

void co_nbdc_dial_end(NbdcDial *dial)
{
    nbdc_dial_cancel(dial);
    while (dial->running) {
        co_queue_wait(&dial->ended);
    }
}
