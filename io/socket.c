/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is the same for every kind of stream socket; see socket.h. */
#include "io/socket.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

ssize_t co_socket_recv(Socket *socket, void *buf, size_t len)
{
    return socket->ops->co_recv(socket, buf, len);
}

int co_socket_recv_all(Socket *socket, void *buf, size_t len)
{
    bool interrupted = false;
    size_t done = 0;
    ssize_t n = 0;

    while (done < len) {
        n = co_socket_recv(socket, (char *)buf + done, len - done);
        if (n == -EINTR && done) {
            interrupted = true; /* bytes that were taken must not be lost: first the rest */
        } else if (n <= 0) {
            break;
        } else {
            done += (size_t)n;
        }
    }
    if (interrupted) {
        socket_interrupt(socket);
    }
    if (done == len) {
        return 0;
    }
    return n < 0 ? (int)n : -ECONNRESET;
}

int co_socket_send(Socket *socket, const IoSlice *data)
{
    return data->len ? socket->ops->co_send(socket, data) : 0;
}

int co_socket_send_buf(Socket *socket, const void *buf, size_t len)
{
    struct iovec iov = {(void *)buf, len};
    IoSlice slice = io_slice(&iov, 1);

    return co_socket_send(socket, &slice);
}

ssize_t co_socket_send_some(Socket *socket, const IoSlice *data)
{
    return socket->ops->co_send_some(socket, data);
}

void socket_interrupt_send(Socket *socket)
{
    socket->ops->interrupt_send(socket);
}

int co_socket_wait_room(Socket *socket)
{
    return socket->ops->co_wait_room(socket);
}

static void too_late(void *opaque)
{
    socket_shutdown(opaque);
}

void co_socket_finish(Socket *socket, int64_t deadline_ns)
{
    LoopTimer timer;

    if (!socket->ops->co_finish) {
        return;
    }
    loop_timer_init(&timer, too_late, socket);
    loop_timer_set(&timer, deadline_ns);
    (void)!socket->ops->co_finish(socket); /* who does not listen is gone */
    loop_timer_cancel(&timer);
}

void socket_interrupt(Socket *socket)
{
    socket->ops->interrupt(socket);
}

void socket_shutdown(Socket *socket)
{
    socket->ops->shutdown(socket);
}

bool socket_is_unix(const Socket *socket)
{
    int domain = AF_UNSPEC;
    socklen_t len = sizeof(domain);

    return getsockopt(socket_fd(socket), SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
           domain == AF_UNIX;
}

bool socket_has_unread(const Socket *socket)
{
    int bytes = 0;

    return ioctl(socket_fd(socket), SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

int socket_fd(const Socket *socket)
{
    return socket->ops->fd(socket);
}

void socket_free(Socket *socket)
{
    if (socket) {
        g_free(socket->peer);
        socket->ops->free(socket);
    }
}
