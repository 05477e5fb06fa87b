/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Socket addresses: look-up and printing; see socket-addr.h.  The wording of errors is QEMU's. */
#include "io/socket-addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/worker.h"
#include "util/error.h"

/*
 * An abstract name follows a NUL byte; unless it is tight it goes on with NUL bytes to the end of
 * sun_path (QEMU's SocketAddress, "tight").
 */
static bool fill_unix(const SocketAddr *addr, SockName *name, GError **errp)
{
    size_t len = addr->path ? strlen(addr->path) : 0;
    size_t before = addr->abstract ? 1 : 0;

    if (!len) {
        return tm_error_set(errp, "UNIX socket path is empty");
    }
    if (len > sizeof(name->un.sun_path) - before) {
        return tm_error_set(errp, "UNIX socket path '%s' is too long", addr->path);
    }
    memset(name, 0, sizeof(*name));
    name->un.sun_family = AF_UNIX;
    memcpy(name->un.sun_path + before, addr->path, len);
    name->len = sizeof(name->un);
    if (addr->abstract && addr->tight) {
        name->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + before + len);
    }
    return true;
}

static void fill_vsock(const SocketAddr *addr, SockName *name)
{
    *name = (SockName){.len = sizeof(name->vm)};
    name->vm.svm_family = AF_VSOCK;
    name->vm.svm_cid = addr->cid;
    name->vm.svm_port = addr->vsock_port;
}

/* A look-up that runs in the worker pool. */
typedef struct LookUp {
    const char *host, *port;
    struct addrinfo hints;
    struct addrinfo *result;
} LookUp;

static int look_up(void *opaque)
{
    LookUp *job = opaque;

    return getaddrinfo(job->host, job->port, &job->hints, &job->result);
}

static int wanted_family(const SocketAddr *addr)
{
    if (addr->ipv4 == addr->ipv6) {
        return AF_UNSPEC;
    }
    return addr->ipv4 ? AF_INET : AF_INET6;
}

/* getaddrinfo() takes 65537 for 1. */
static bool port_in_range(const char *port)
{
    char *end;
    unsigned long number = strtoul(port, &end, 10);

    return *end || number <= 65535;
}

static int co_look_up(LookUp *job)
{
    if (job->port && !port_in_range(job->port)) {
        return EAI_SERVICE;
    }
    return co_in_worker(look_up, job);
}

static bool co_resolve_tcp(const SocketAddr *addr, bool passive, GArray *names, GError **errp)
{
    const char *host = addr->host ? addr->host : "", *port = addr->port ? addr->port : "";
    LookUp job = {.host = *host ? host : NULL, .port = *port ? port : NULL};
    int ret;

    if (!passive && (!*host || !*port)) {
        return tm_error_set(errp, "host and/or port not specified");
    }
    job.hints = (struct addrinfo){
        .ai_family = wanted_family(addr),
        .ai_socktype = SOCK_STREAM,
        .ai_flags = (passive ? AI_PASSIVE : 0) |
                    (addr->numeric ? AI_NUMERICHOST | AI_NUMERICSERV : 0),
    };
    ret = co_look_up(&job);
    if (ret) {
        return tm_error_set(errp, "address resolution failed for %s:%s: %s", host, port,
                            gai_strerror(ret));
    }
    for (struct addrinfo *info = job.result; info; info = info->ai_next) {
        SockName name = {.len = info->ai_addrlen};

        g_assert(info->ai_addrlen <= sizeof(name.storage));
        memcpy(&name.storage, info->ai_addr, info->ai_addrlen);
        g_array_append_val(names, name);
    }
    freeaddrinfo(job.result);
    return true;
}

GArray *co_socket_resolve(const SocketAddr *addr, bool passive, GError **errp)
{
    g_autoptr(GArray) names = g_array_new(FALSE, FALSE, sizeof(SockName));

    SockName name;

    if (addr->kind == SOCKET_ADDR_TCP) {
        return co_resolve_tcp(addr, passive, names, errp) ? g_steal_pointer(&names) : NULL;
    }
    if (addr->kind == SOCKET_ADDR_VSOCK) {
        fill_vsock(addr, &name);
    } else if (!fill_unix(addr, &name, errp)) {
        return NULL;
    }
    g_array_append_val(names, name);
    return g_steal_pointer(&names);
}

static char *format_unix(const SockName *name)
{
    const char *path = name->un.sun_path;
    size_t most = name->len - MIN(name->len, offsetof(struct sockaddr_un, sun_path));

    if (most > 1 && !path[0]) {
        return g_strdup_printf("unix:@%.*s", (int)(most - 1), path + 1);
    }
    return g_strdup_printf("unix:%.*s", (int)most, path);
}

char *sock_name_format(const SockName *name)
{
    char host[INET6_ADDRSTRLEN];

    switch (name->sa.sa_family) {
    case AF_UNIX:
        return format_unix(name);
    case AF_INET:
        inet_ntop(AF_INET, &name->in.sin_addr, host, sizeof(host));
        return g_strdup_printf("%s:%u", host, ntohs(name->in.sin_port));
    case AF_INET6:
        inet_ntop(AF_INET6, &name->in6.sin6_addr, host, sizeof(host));
        return g_strdup_printf("[%s]:%u", host, ntohs(name->in6.sin6_port));
    case AF_VSOCK:
        return g_strdup_printf("vsock:%u:%u", name->vm.svm_cid, name->vm.svm_port);
    default:
        return g_strdup("unknown");
    }
}

bool socket_check_fd(int fd, GError **errp)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        return tm_error_set(errp, "File descriptor '%d' is not a socket", fd);
    }
    return true;
}

int socket_open(const SocketAddr *addr, const SockName *name)
{
    int protocol = addr->mptcp ? IPPROTO_MPTCP : 0;
    int fd = socket(name->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, protocol);

    return fd < 0 ? -errno : fd;
}

void socket_take_fd(int fd)
{
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* A connection works without them too, so failures do not matter. */
void socket_tune(int fd, const SockName *name, bool keep_alive)
{
    int on = 1;

    if (name->sa.sa_family == AF_INET || name->sa.sa_family == AF_INET6) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (keep_alive) {
            setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        }
    }
}
