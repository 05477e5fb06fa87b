/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connecting to an address.  The wording of errors is QEMU's. */
#include <errno.h>
#include <unistd.h>

#include "io/co-private.h"
#include "io/socket-addr.h"
#include "util/error.h"

/* A connected descriptor or -errno. */
static int co_connect_name(SocketConnect *connect, const SocketAddr *addr, const SockName *name)
{
    struct io_uring_sqe *sqe;
    CoOp op;
    int fd, res;

    if (connect->cancelled) {
        return -ECANCELED;
    }
    fd = socket_open(addr, name);
    if (fd < 0) {
        return fd;
    }
    sqe = co_op_sqe();
    io_uring_prep_connect(sqe, fd, &name->sa, name->len);
    connect->op = &op;
    res = co_op_run(&op, sqe);
    connect->op = NULL;
    if (res < 0) {
        close(fd);
        return connect->cancelled ? -ECANCELED : res;
    }
    return fd;
}

void socket_connect_cancel(SocketConnect *connect)
{
    connect->cancelled = true;
    if (connect->op) {
        co_op_cancel(connect->op);
    }
}

static Socket *socket_from_fd(const SocketAddr *addr, GError **errp)
{
    SockName name = {.len = sizeof(name.storage)};
    g_autofree char *peer = NULL;

    if (!socket_check_fd(addr->fd, errp)) {
        return NULL;
    }
    if (getpeername(addr->fd, &name.sa, &name.len) < 0) {
        tm_error_set_errno(errp, errno, "File descriptor '%d' is not a connected socket",
                           addr->fd);
        return NULL;
    }
    socket_take_fd(addr->fd);
    socket_tune(addr->fd, &name, addr->keep_alive);
    peer = sock_name_format(&name);
    return socket_new_fd(addr->fd, peer);
}

static void set_connect_error(GError **errp, const SocketAddr *addr, int error)
{
    if (addr->kind == SOCKET_ADDR_UNIX) {
        tm_error_set_errno(errp, error, "Failed to connect to '%s'", addr->path);
    } else if (addr->kind == SOCKET_ADDR_VSOCK) {
        tm_error_set_errno(errp, error, "Failed to connect to '%u:%u'", addr->cid,
                           addr->vsock_port);
    } else {
        tm_error_set_errno(errp, error, "Failed to connect to '%s:%s'", addr->host, addr->port);
    }
}

Socket *co_socket_connect_or_cancel(SocketConnect *connect, const SocketAddr *addr, GError **errp)
{
    g_autoptr(GArray) names = NULL;
    int fd = -ECONNREFUSED;

    if (addr->kind == SOCKET_ADDR_FD) {
        return socket_from_fd(addr, errp);
    }
    names = co_socket_resolve(addr, false, errp);
    if (!names) {
        return NULL;
    }
    for (guint i = 0; i < names->len; i++) {
        const SockName *name = &g_array_index(names, SockName, i);

        fd = co_connect_name(connect, addr, name);
        if (fd >= 0) {
            g_autofree char *peer = sock_name_format(name);

            socket_tune(fd, name, addr->keep_alive);
            return socket_new_fd(fd, peer);
        }
    }
    set_connect_error(errp, addr, -fd);
    return NULL;
}

Socket *co_socket_connect(const SocketAddr *addr, GError **errp)
{
    SocketConnect connect = {0};

    return co_socket_connect_or_cancel(&connect, addr, errp);
}
