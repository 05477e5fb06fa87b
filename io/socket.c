/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is the same for every kind of stream socket; see socket.h. */
#include "io/socket.h"

#include <errno.h>

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

void socket_interrupt(Socket *socket)
{
    socket->ops->interrupt(socket);
}

void socket_shutdown(Socket *socket)
{
    socket->ops->shutdown(socket);
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
