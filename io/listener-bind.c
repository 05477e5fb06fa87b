/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Binding listening sockets; see listener-bind.h.  The wording of errors is QEMU's.
 *
 * QEMU removes whatever file is at a socket's path; we remove only a socket, so that a mistyped
 * path does not cost a file.
 */
#include "io/listener-bind.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"

static bool set_bind_error(GError **errp, const SocketAddr *addr, int error)
{
    if (addr->kind == SOCKET_ADDR_UNIX) {
        return tm_error_set_errno(errp, error, "Failed to bind socket to %s", addr->path);
    }
    if (error == EADDRINUSE) {
        return tm_error_set_errno(errp, error, "Failed to find an available port");
    }
    return tm_error_set_errno(errp, error, "Failed to bind socket");
}

/* Removes the socket of a daemon that is gone. */
static bool remove_old_socket(const char *path, GError **errp)
{
    struct stat st;

    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && unlink(path) < 0 && errno != ENOENT) {
        return tm_error_set_errno(errp, errno, "Failed to unlink socket %s", path);
    }
    return true;
}

static bool has_family(const GArray *names, int family)
{
    for (guint i = 0; i < names->len; i++) {
        if (g_array_index(names, SockName, i).sa.sa_family == family) {
            return true;
        }
    }
    return false;
}

/* An IPv6 wildcard takes IPv4 too, unless that has its own socket or is not wanted. */
static void set_options(int fd, const SockName *name, const SocketAddr *addr, const GArray *names)
{
    int on = 1, v6_only = has_family(names, AF_INET) || (addr->ipv6 && !addr->ipv4);

    if (addr->kind == SOCKET_ADDR_TCP) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    }
    if (name->sa.sa_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only));
    }
}

static bool bind_and_listen(int fd, const SocketAddr *addr, const SockName *name, int backlog,
                            GError **errp)
{
    if (bind(fd, &name->sa, name->len) < 0) {
        return set_bind_error(errp, addr, errno);
    }
    if (listen(fd, backlog) < 0) {
        /* Two that bound the same port with SO_REUSEADDR meet here. */
        return errno == EADDRINUSE ? set_bind_error(errp, addr, errno)
                                   : tm_error_set_errno(errp, errno, "Failed to listen on socket");
    }
    return true;
}

static int open_listening(const SocketAddr *addr, const SockName *name, const GArray *names,
                          int backlog, GError **errp)
{
    int fd = socket_open(addr, name);

    if (fd < 0) {
        tm_error_set_errno(errp, -fd, addr->kind == SOCKET_ADDR_UNIX
                                            ? "Failed to create Unix socket"
                                            : "Failed to create socket");
        return -1;
    }
    set_options(fd, name, addr, names);
    if (!bind_and_listen(fd, addr, name, backlog, errp)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Tries the ports up to the last one; the error is the last one's. */
static int open_in_range(const SocketAddr *addr, SockName *name, const GArray *names, int backlog,
                         GError **errp)
{
    unsigned port = addr->last_port ? ntohs(name->in.sin_port) : 0;
    int fd = -1;

    if (port > addr->last_port) {
        tm_error_set(errp, "No port from %u to %u", port, addr->last_port);
        return -1;
    }
    for (; fd < 0 && port < addr->last_port; port++) {
        name->in.sin_port = htons(port); /* it lies at the same place in both families */
        fd = open_listening(addr, name, names, backlog, NULL);
    }
    if (fd < 0 && addr->last_port) {
        name->in.sin_port = htons(addr->last_port);
    }
    return fd < 0 ? open_listening(addr, name, names, backlog, errp) : fd;
}

static void note_address(ListenerBinding *binding, int fd)
{
    SockName name = {.len = sizeof(name.storage)};

    if (!binding->address && getsockname(fd, &name.sa, &name.len) == 0) {
        binding->address = sock_name_format(&name);
    }
}

/* Where the first name got a port from the kernel (port 0), the others are to have the same. */
static void use_same_port(int fd, SockName *name)
{
    SockName first = {.len = sizeof(first.storage)};

    if (getsockname(fd, &first.sa, &first.len) == 0 && !name->in.sin_port) {
        name->in.sin_port = first.in.sin_port;
    }
}

/* One name that can be bound is enough (a host without IPv6, say); the first error is reported. */
static bool bind_names(const SocketAddr *addr, GArray *names, int backlog,
                       ListenerBinding *binding, GError **errp)
{
    g_autoptr(GError) first_error = NULL;

    for (guint i = 0; i < names->len; i++) {
        SockName *name = &g_array_index(names, SockName, i);
        int fd;

        if (binding->fds->len) { /* TCP: nothing else has several names */
            use_same_port(g_array_index(binding->fds, int, 0), name);
        }
        fd = open_in_range(addr, name, names, backlog, first_error ? NULL : &first_error);
        if (fd >= 0) {
            g_array_append_val(binding->fds, fd);
            note_address(binding, fd);
        }
    }
    if (!binding->fds->len) {
        g_propagate_error(errp, g_steal_pointer(&first_error));
        return false;
    }
    return true;
}

static void note_file(ListenerBinding *binding, const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0) {
        binding->path = g_strdup(path);
        binding->dev = st.st_dev;
        binding->ino = st.st_ino;
    }
}

static bool take_fd(const SocketAddr *addr, int backlog, ListenerBinding *binding, GError **errp)
{
    int flags;

    if (!socket_check_fd(addr->fd, errp)) {
        return false;
    }
    if (listen(addr->fd, backlog) < 0) {
        return tm_error_set_errno(errp, errno, "Failed to listen on fd socket");
    }
    flags = fcntl(addr->fd, F_GETFL);
    fcntl(addr->fd, F_SETFL, flags & ~O_NONBLOCK); /* the ring waits */
    socket_take_fd(addr->fd);
    g_array_append_val(binding->fds, addr->fd);
    note_address(binding, addr->fd);
    return true;
}

static bool co_bind(const SocketAddr *addr, int backlog, ListenerBinding *binding, GError **errp)
{
    bool is_file = addr->kind == SOCKET_ADDR_UNIX && !addr->abstract;
    g_autoptr(GArray) names = NULL;

    if (addr->kind == SOCKET_ADDR_FD) {
        return take_fd(addr, backlog, binding, errp);
    }
    names = co_socket_resolve(addr, true, errp);
    if (!names || (is_file && !remove_old_socket(addr->path, errp)) ||
        !bind_names(addr, names, backlog, binding, errp)) {
        return false;
    }
    if (is_file) {
        note_file(binding, addr->path);
    }
    return true;
}

bool co_listener_bind(const SocketAddr *addr, int backlog, ListenerBinding *binding,
                      GError **errp)
{
    *binding = (ListenerBinding){.fds = g_array_new(FALSE, FALSE, sizeof(int))};
    if (!co_bind(addr, backlog, binding, errp)) {
        listener_unbind(binding);
        return false;
    }
    return true;
}

void listener_unbind(ListenerBinding *binding)
{
    struct stat st;

    for (guint i = 0; i < binding->fds->len; i++) {
        close(g_array_index(binding->fds, int, i));
    }
    if (binding->path && lstat(binding->path, &st) == 0 && st.st_dev == binding->dev &&
        st.st_ino == binding->ino) {
        unlink(binding->path);
    }
    g_array_unref(binding->fds);
    g_free(binding->address);
    g_free(binding->path);
}
