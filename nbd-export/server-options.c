/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting the NBD server from what the user gave; see server-options.h. */
#include "nbd-export/server-options.h"

#include "nbd-export/server.h"
#include "block/socket-address.h"
#include "util/error.h"

bool co_nbd_server_start_options(const NbdServerOptions *options, GError **errp)
{
    NbdServerConfig config = {
        .max_connections =
            options->has_max_connections ? options->max_connections : NBD_DEFAULT_MAX_CONNECTIONS,
        .handshake_seconds = options->has_handshake_max_seconds ? options->handshake_max_seconds
                                                                : NBD_DEFAULT_HANDSHAKE_SECONDS,
    };

    if (nbd_server_running()) {
        return tm_error_set(errp, "NBD server already running");
    }
    if (options->tls_creds) {
        return tm_error_set(errp, "No TLS credentials with id '%s'", options->tls_creds);
    }
    if (options->tls_authz) {
        return tm_error_set(errp, "Parameter 'tls-authz' needs 'tls-creds'");
    }
    return socket_address_translate(options->addr, &config.addr, errp) &&
           co_nbd_server_start(&config, errp);
}
