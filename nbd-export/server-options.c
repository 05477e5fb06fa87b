/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting the NBD server from what the user gave; see server-options.h. */
#include "nbd-export/server-options.h"

#include "nbd-export/server.h"
#include "block/objects/authz.h"
#include "block/objects/tls-object.h"
#include "block/socket-address.h"
#include "util/error.h"

static bool parse_number(const char *text, uint64_t max, uint64_t *value)
{
    return g_ascii_string_to_unsigned(text, 10, 0, max, value, NULL);
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

/* Holds what is named. */
static bool find_tls(const NbdServerOptions *options, NbdServerConfig *config, GError **errp)
{
    if (options->tls_creds) {
        config->tls_creds =
            tls_object_hold(options->tls_creds, Q_CRYPTO_TLS_CREDS_ENDPOINT_SERVER, errp);
        if (!config->tls_creds) {
            return false;
        }
    }
    if (options->tls_authz) {
        config->tls_authz = authz_hold(options->tls_authz, errp);
        return config->tls_authz != NULL;
    }
    return true;
}

static bool co_listen(const SocketAddress *address, NbdServerConfig *config, GError **errp)
{
    if (!socket_address_translate(address, "the NBD server", &config->addr, errp)) {
        return false;
    }
    return address->type == SOCKET_ADDRESS_TYPE_INET && address->u.inet.has_to
               ? co_start_in_range(config, address->u.inet.to, errp)
               : co_nbd_server_start(config, errp);
}

bool co_nbd_server_start_options(const NbdServerOptions *options, GError **errp)
{
    NbdServerConfig config = {
        .max_connections =
            options->has_max_connections ? options->max_connections : NBD_DEFAULT_MAX_CONNECTIONS,
        .handshake_seconds = options->has_handshake_max_seconds ? options->handshake_max_seconds
                                                                : NBD_DEFAULT_HANDSHAKE_SECONDS,
    };
    bool ok;

    if (nbd_server_running()) {
        return tm_error_set(errp, "NBD server already running");
    }
    if (options->tls_authz && !options->tls_creds) {
        return tm_error_set(errp, "Parameter 'tls-authz' needs 'tls-creds'");
    }
    ok = find_tls(options, &config, errp) && co_listen(options->addr, &config, errp);
    g_clear_pointer(&config.tls_creds, user_object_release);
    g_clear_pointer(&config.tls_authz, user_object_release);
    return ok;
}
