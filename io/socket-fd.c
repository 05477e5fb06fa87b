/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's stream sockets as a Socket. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/co-private.h"
#include "io/iov-window.h"
#include "io/socket.h"

#define MAX_LEN (1024 * 1024 * 1024) /* of one operation, whose length has 32 bits */

typedef struct FdSocket {
    Socket base;
    int fd;
    CoOp *receiving;  /* the receive that waits, if any */
    bool interrupted; /* a receive is still to be told */
    CoOp *sending;    /* the same for sends that can be interrupted */
    bool send_interrupted;
} FdSocket;

static ssize_t co_fd_recv(Socket *base, void *buf, size_t len)
{
    FdSocket *socket = (FdSocket *)base;
    CoOp op;
    int res;

    do {
        struct io_uring_sqe *sqe;

        if (socket->interrupted) {
            socket->interrupted = false;
            return -EINTR;
        }
        sqe = co_op_sqe();
        io_uring_prep_recv(sqe, socket->fd, buf, MIN(len, MAX_LEN), 0);
        socket->receiving = &op;
        res = co_op_run(&op, sqe);
        socket->receiving = NULL;
    } while (res == -EINTR || res == -EAGAIN || (res == -ECANCELED && socket->interrupted));
    return res;
}

static void fd_interrupt(Socket *base)
{
    FdSocket *socket = (FdSocket *)base;

    if (!socket->interrupted && socket->receiving) {
        co_op_cancel(socket->receiving);
    }
    socket->interrupted = true;
}

/* Sends a first part of @data; the number of bytes or -errno. */
static int co_send_part(FdSocket *socket, const IoSlice *data, int flags, CoOp *op)
{
    struct io_uring_sqe *sqe;
    struct msghdr msg;
    IovWindow window;
    int res;

    iov_window_open(&window, data);
    sqe = co_op_sqe();
    if (window.niov == 1) {
        io_uring_prep_send(sqe, socket->fd, window.iov->iov_base,
                           MIN(window.iov->iov_len, MAX_LEN), flags);
    } else {
        msg = (struct msghdr){.msg_iov = (struct iovec *)window.iov, .msg_iovlen = window.niov};
        io_uring_prep_sendmsg(sqe, socket->fd, &msg, (unsigned)flags);
    }
    res = co_op_run(op, sqe);
    iov_window_close(&window);
    return res;
}

static int co_fd_send(Socket *base, const IoSlice *data)
{
    FdSocket *socket = (FdSocket *)base;
    size_t done = 0;

    while (done < data->len) {
        IoSlice rest = io_slice_sub(data, done, data->len - done);
        CoOp op;
        /* MSG_WAITALL makes the kernel itself go on after a short send. */
        int res = co_send_part(socket, &rest, MSG_NOSIGNAL | MSG_WAITALL, &op);

        if (res < 0 && res != -EINTR && res != -EAGAIN) {
            return res;
        }
        done += res > 0 ? (size_t)res : 0;
    }
    return 0;
}

/* Without MSG_WAITALL: an operation that waits has sent nothing yet, and can be cancelled. */
static ssize_t co_fd_send_some(Socket *base, const IoSlice *data)
{
    FdSocket *socket = (FdSocket *)base;
    CoOp op;
    int res;

    do {
        if (socket->send_interrupted) {
            socket->send_interrupted = false;
            return -EINTR;
        }
        socket->sending = &op;
        res = co_send_part(socket, data, MSG_NOSIGNAL, &op);
        socket->sending = NULL;
    } while (res == -EINTR || res == -EAGAIN || (res == -ECANCELED && socket->send_interrupted));
    return res;
}

static int co_fd_wait_room(Socket *base)
{
    FdSocket *socket = (FdSocket *)base;
    CoOp op;
    int res;

    do {
        struct io_uring_sqe *sqe;

        if (socket->send_interrupted) {
            socket->send_interrupted = false;
            return -EINTR;
        }
        sqe = co_op_sqe();
        io_uring_prep_poll_add(sqe, socket->fd, POLLOUT);
        socket->sending = &op;
        res = co_op_run(&op, sqe);
        socket->sending = NULL;
    } while (res == -EINTR || (res == -ECANCELED && socket->send_interrupted));
    return res < 0 ? res : 0;
}

static void fd_interrupt_send(Socket *base)
{
    FdSocket *socket = (FdSocket *)base;

    if (!socket->send_interrupted && socket->sending) {
        co_op_cancel(socket->sending);
    }
    socket->send_interrupted = true;
}

static void fd_shutdown(Socket *base)
{
    shutdown(((FdSocket *)base)->fd, SHUT_RDWR);
}

static int fd_fd(const Socket *base)
{
    return ((const FdSocket *)base)->fd;
}

static void fd_free(Socket *base)
{
    FdSocket *socket = (FdSocket *)base;

    g_assert(!socket->receiving);
    close(socket->fd);
    g_free(socket);
}

static const SocketOps fd_ops = {
    .co_recv = co_fd_recv,
    .co_send = co_fd_send,
    .interrupt = fd_interrupt,
    .co_send_some = co_fd_send_some,
    .interrupt_send = fd_interrupt_send,
    .co_wait_room = co_fd_wait_room,
    .shutdown = fd_shutdown,
    .fd = fd_fd,
    .free = fd_free,
};

Socket *socket_new_fd(int fd, const char *peer)
{
    FdSocket *socket = g_new0(FdSocket, 1);
    int flags = fcntl(fd, F_GETFL);

    /* The ring waits for what is not ready; O_NONBLOCK would make it give up. */
    if (flags >= 0 && (flags & O_NONBLOCK)) {
        fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    }
    socket->base.ops = &fd_ops;
    socket->base.peer = g_strdup(peer);
    socket->fd = fd;
    return &socket->base;
}
