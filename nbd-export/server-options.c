/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting the NBD server from what the user gave; see server-options.h. */
#include "nbd-export/server-options.h"

#include "nbd-export/server.h"
#include "util/error.h"

static bool parse_number(const char *text, uint64_t max, uint64_t *value)
{
    return g_ascii_string_to_unsigned(text, 10, 0, max, value, NULL);
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

    if (!parse_number(address->str, G_MAXINT, &fd)) {
        return tm_error_set(errp, "File descriptor named '%s' has not been found", address->str);
    }
    addr->kind = SOCKET_ADDR_FD;
    addr->fd = (int)fd;
    return true;
}

static bool addr_of(const SocketAddress *address, SocketAddr *addr, GError **errp)
{
    switch (address->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        if (address->u.inet.has_mptcp && address->u.inet.mptcp) {
            return tm_error_set(errp, "Parameter 'mptcp' is not supported by the NBD server");
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
        return tm_error_set(errp, "Sockets of type '%s' are not supported by the NBD server",
                            SocketAddressType_name(address->type));
    }
}

/* Tries the ports from "port" to "to"; the error is the last one's. */
static bool co_start_in_range(NbdServerConfig *config, uint16_t to, GError **errp)
{
    uint64_t port;

    if (!parse_number(config->addr.port, G_MAXUINT16, &port)) {
        return tm_error_set(errp, "port '%s' must be a number where 'to' is given",
                            config->addr.port);
    }
    for (; port < to; port++) {
        g_autofree char *text = g_strdup_printf("%u", (unsigned)port);

        config->addr.port = text;
        if (co_nbd_server_start(config, NULL)) {
            return true;
        }
    }
    g_autofree char *last = g_strdup_printf("%u", (unsigned)port);
    config->addr.port = last;
    return co_nbd_server_start(config, errp);
}

bool co_nbd_server_start_options(const NbdServerOptions *options, GError **errp)
{
    NbdServerConfig config = {
        .max_connections =
            options->has_max_connections ? options->max_connections : NBD_DEFAULT_MAX_CONNECTIONS,
        .handshake_seconds = options->has_handshake_max_seconds ? options->handshake_max_seconds
                                                                : NBD_DEFAULT_HANDSHAKE_SECONDS,
    };
    const SocketAddress *address = options->addr;

    if (nbd_server_running()) {
        return tm_error_set(errp, "NBD server already running");
    }
    if (options->tls_creds) {
        return tm_error_set(errp, "No TLS credentials with id '%s'", options->tls_creds);
    }
    if (options->tls_authz) {
        return tm_error_set(errp, "Parameter 'tls-authz' needs 'tls-creds'");
    }
    if (!addr_of(address, &config.addr, errp)) {
        return false;
    }
    return address->type == SOCKET_ADDRESS_TYPE_INET && address->u.inet.has_to
               ? co_start_in_range(&config, address->u.inet.to, errp)
               : co_nbd_server_start(&config, errp);
}
