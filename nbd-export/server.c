/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The NBD server; see server.h. */
#include "nbd-export/server.h"

#include <sys/socket.h>

#include "nbd-export/negotiate.h"
#include "nbd-export/session.h"
#include "util/error.h"

#define BACKLOG SOMAXCONN /* clients that come all at once are not turned away */

typedef struct NbdClient {
    Socket *socket;  /* while negotiating */
    LoopTimer timer; /* ends a negotiation that takes too long */
} NbdClient;

typedef struct NbdServer {
    Listener *listener;
    uint32_t max_connections, handshake_seconds;
    bool stopping;
    unsigned n_clients, n_waiting; /* have a place; were accepted and wait for one */
    GPtrArray *negotiating; /* of NbdClient */
    GPtrArray *exports;     /* of NbdExport */
    uint64_t last_serial;
    CoQueue changed; /* a client has gone, or the server stops */
} NbdServer;

/* The one server, or NULL: QMP knows only one. Loop 0. */
static NbdServer *server;

/* --- Clients --- */

static bool is_full(void)
{
    return server->max_connections && server->n_clients >= server->max_connections;
}

static void update_listener(void)
{
    if (server->listener) {
        listener_set_paused(server->listener, is_full());
    }
}

static void handshake_timeout(void *opaque)
{
    NbdClient *client = opaque;

    socket_shutdown(client->socket);
}

/* From the greeting to the choice of an export; what is chosen has a client's place. */
static bool co_negotiate(Socket *socket, NbdChoice *choice)
{
    NbdClient client = {.socket = socket};
    bool ok;

    loop_timer_init(&client.timer, handshake_timeout, &client);
    if (server->handshake_seconds) {
        loop_timer_set(&client.timer,
                       loop_now_ns() + server->handshake_seconds * G_GINT64_CONSTANT(1000000000));
    }
    g_ptr_array_add(server->negotiating, &client);
    ok = co_nbd_negotiate(socket, choice);
    g_ptr_array_remove_fast(server->negotiating, &client);
    loop_timer_cancel(&client.timer);
    return ok;
}

static void co_serve(Socket *socket)
{
    NbdChoice choice = {0};

    if (!co_negotiate(socket, &choice)) {
        socket_free(socket);
        return;
    }
    co_nbd_session_run(choice.export, socket, choice.mode, choice.contexts);
}

/* A connection that was accepted beyond the limit waits for its turn like those in the backlog. */
static void co_accepted(Socket *socket, void *opaque)
{
    server->n_waiting++;
    while (is_full() && !server->stopping) {
        co_queue_wait(&server->changed);
    }
    server->n_waiting--;
    server->n_clients++;
    update_listener();
    if (server->stopping) {
        socket_free(socket);
    } else {
        co_serve(socket);
    }
    server->n_clients--;
    update_listener();
    co_queue_wake_all(&server->changed);
}

/* --- Start and stop --- */

bool co_nbd_server_start(const NbdServerConfig *config, GError **errp)
{
    NbdServer *new;

    if (server) {
        return tm_error_set(errp, "NBD server already running");
    }
    new = g_new0(NbdServer, 1);
    new->max_connections = config->max_connections;
    new->handshake_seconds = config->handshake_seconds;
    new->negotiating = g_ptr_array_new();
    new->exports = g_ptr_array_new();
    server = new; /* nobody else may start one while this one looks up its address */
    new->listener = co_listener_new(&config->addr, BACKLOG, co_accepted, NULL, errp);
    if (!new->listener) {
        server = NULL;
        g_ptr_array_free(new->negotiating, true);
        g_ptr_array_free(new->exports, true);
        g_free(new);
        return false;
    }
    return true;
}

static void co_stop_listening(void)
{
    Listener *listener = g_steal_pointer(&server->listener);

    server->stopping = true;
    co_listener_free(listener);
    co_queue_wake_all(&server->changed);
}

static void disconnect_negotiating(void)
{
    for (unsigned i = 0; i < server->negotiating->len; i++) {
        NbdClient *client = server->negotiating->pdata[i];

        socket_shutdown(client->socket);
    }
}

bool co_nbd_server_stop(GError **errp)
{
    if (!server || server->stopping || !server->listener) {
        return tm_error_set(errp, "NBD server not running");
    }
    co_stop_listening();
    disconnect_negotiating();
    co_export_remove_all(&nbd_export_driver);
    while (server->n_clients || server->n_waiting) {
        co_queue_wait(&server->changed);
    }
    g_assert(server->exports->len == 0);
    g_ptr_array_free(server->exports, true);
    g_ptr_array_free(server->negotiating, true);
    g_clear_pointer(&server, g_free);
    return true;
}

bool nbd_server_running(void)
{
    return server && server->listener; /* not yet while it looks up its address */
}

bool nbd_server_single_connection(void)
{
    return server->max_connections == 1;
}

/* --- Exports by name --- */

const GPtrArray *nbd_server_exports(void)
{
    return server->exports;
}

NbdExport *nbd_server_find(const char *name)
{
    for (unsigned i = 0; i < server->exports->len; i++) {
        NbdExport *export = server->exports->pdata[i];

        if (g_str_equal(export->name, name)) {
            return export;
        }
    }
    return NULL;
}

NbdExport *nbd_server_find_serial(uint64_t serial)
{
    for (unsigned i = 0; i < server->exports->len; i++) {
        NbdExport *export = server->exports->pdata[i];

        if (export->serial == serial) {
            return export;
        }
    }
    return NULL;
}

void nbd_server_add_export(NbdExport *export)
{
    export->serial = ++server->last_serial;
    g_ptr_array_add(server->exports, export);
}

void nbd_server_remove_export(NbdExport *export)
{
    g_ptr_array_remove(server->exports, export);
}
