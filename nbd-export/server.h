/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The NBD server: the listening socket, its connections, and the exports by name.
 *
 * There is at most one, as in QEMU. All of it is on loop 0; a connection leaves for the loop of its
 * export when negotiation has ended, and comes back to end.
 */
#ifndef NBD_EXPORT_SERVER_H
#define NBD_EXPORT_SERVER_H

#include "block/objects/user-object.h"
#include "io/socket.h"
#include "nbd-export/nbd-export.h"

#define NBD_DEFAULT_MAX_CONNECTIONS 100
#define NBD_DEFAULT_HANDSHAKE_SECONDS 10

typedef struct NbdServerConfig {
    SocketAddr addr;
    uint32_t max_connections;   /* 0: no limit */
    uint32_t handshake_seconds; /* for the whole negotiation; 0: no limit */
    /* TLS is required of all clients, and who of them may come in; or NULL.  The server holds both,
     * too. */
    UserObject *tls_creds, *tls_authz;
} NbdServerConfig;

/* Begins to listen.  "NBD server already running".  Loop 0; may yield. */
bool co_nbd_server_start(const NbdServerConfig *config, GError **errp);

/*
 * Stops listening, disconnects all clients and removes all NBD exports; returns when that is done.
 * "NBD server not running".  Loop 0, control lock NOT held.
 */
bool co_nbd_server_stop(GError **errp);

bool nbd_server_running(void);
/* Is no more than one connection allowed?  (Then exports do not offer MULTI_CONN.) */
bool nbd_server_single_connection(void);

/* Exports in the order in which they were added; of NbdExport, not owned.  The server must run. */
const GPtrArray *nbd_server_exports(void);
NbdExport *nbd_server_find(const char *name);
NbdExport *nbd_server_find_serial(uint64_t serial);
/* Gives it its serial number. */
void nbd_server_add_export(NbdExport *export);
/* No client finds it any more.  An export that is not there is left alone. */
void nbd_server_remove_export(NbdExport *export);

#endif
