/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting the NBD server from what the user gave; see server-options.h. */
#include "nbd-export/server-options.h"

#include "nbd-export/server.h"
#include "block/objects/authz.h"
#include "block/objects/tls-object.h"
#include "block/socket-address.h"
#include "util/error.h"

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
    ok = find_tls(options, &config, errp) &&
         socket_address_translate(options->addr, &config.addr, errp) &&
         co_nbd_server_start(&config, errp);
    g_clear_pointer(&config.tls_creds, user_object_release);
    g_clear_pointer(&config.tls_authz, user_object_release);
    return ok;
}
