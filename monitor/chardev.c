/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Character devices; see chardev.h. */
#include "monitor/chardev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/co-lock.h"
#include "monitor/ids.h"
#include "monitor/stdio-socket.h"
#include "util/error.h"

struct Chardev {
    char *id;
    bool claimed;
    SocketAddr addr;               /* its strings are options' */
    ChardevSocketOptions *options; /* NULL for stdio */
    Listener *listener;            /* of a server */
    Socket *ready;                 /* a connection that nobody has taken */
    int64_t reconnect_ns;          /* 0: never */
    bool once;                     /* the one connection has been given out */
    CoQueue arrived;
    CoSleep retry;
    bool retrying;
};

/* All devices, and whether they are to stop. Loop 0. */
static struct {
    GPtrArray *all;
    bool stopped;
    bool no_stdio;
} chardevs;

Chardev *chardev_find(const char *id)
{
    for (guint i = 0; chardevs.all && i < chardevs.all->len; i++) {
        Chardev *chardev = chardevs.all->pdata[i];

        if (g_str_equal(chardev->id, id)) {
            return chardev;
        }
    }
    return NULL;
}

static bool check_id(const char *id, GError **errp)
{
    if (!id_is_wellformed(id)) {
        return tm_error_set(errp, "Parameter 'id' expects an identifier");
    }
    if (chardev_find(id)) {
        return tm_error_set(errp, "Chardev with id '%s' already exists", id);
    }
    return true;
}

static Chardev *chardev_new(const char *id)
{
    Chardev *chardev = g_new0(Chardev, 1);

    chardev->id = g_strdup(id);
    if (!chardevs.all) {
        chardevs.all = g_ptr_array_new();
    }
    g_ptr_array_add(chardevs.all, chardev);
    return chardev;
}

static void co_chardev_free(Chardev *chardev)
{
    if (chardev->listener) {
        co_listener_free(chardev->listener);
    }
    socket_free(chardev->ready);
    ChardevSocketOptions_free(chardev->options);
    g_ptr_array_remove(chardevs.all, chardev);
    g_free(chardev->id);
    g_free(chardev);
}

/* --- options --- */

static bool parse_fd(const char *text, int *fd, GError **errp)
{
    char *end;
    long value;

    errno = 0;
    value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < 0 || value > G_MAXINT) {
        return tm_error_set(errp, "Unable to parse FD number %s", text);
    }
    *fd = (int)value;
    return true;
}

static bool read_addr(SocketAddr *addr, const ChardevSocketOptions *o, GError **errp)
{
    *addr = (SocketAddr){
        .path = o->path,
        .abstract = o->has_abstract && o->abstract,
        .tight = !o->has_tight || o->tight,
        .host = o->host ? o->host : "",
        .port = o->port,
        .ipv4 = o->has_ipv4 && o->ipv4,
        .ipv6 = o->has_ipv6 && o->ipv6,
    };
    if ((o->path != NULL) + (o->host != NULL) + (o->fd != NULL) > 1) {
        return tm_error_set(errp, "None or one of 'path', 'fd' or 'host' option required.");
    }
    if (o->path) {
        addr->kind = SOCKET_ADDR_UNIX;
        return true;
    }
    if (o->host || o->port) {
        addr->kind = SOCKET_ADDR_TCP;
        return o->port || tm_error_set(errp, "chardev: socket: no port given");
    }
    addr->kind = SOCKET_ADDR_FD;
    return parse_fd(o->fd ? o->fd : "", &addr->fd, errp);
}

static bool is_server(const ChardevSocketOptions *o)
{
    return o->has_server && o->server;
}

static bool check_socket_options(const ChardevSocketOptions *o, GError **errp)
{
    if (is_server(o) && (o->has_reconnect || o->has_reconnect_ms)) {
        return tm_error_set(errp, "'%s' option is incompatible with socket in server listen mode",
                            o->has_reconnect ? "reconnect" : "reconnect-ms");
    }
    if (!is_server(o) && o->has_wait) {
        return tm_error_set(errp,
                            "'wait' option is incompatible with socket in client connect mode");
    }
    if (o->has_reconnect && o->has_reconnect_ms) {
        return tm_error_set(errp, "'reconnect' and 'reconnect-ms' are mutually exclusive");
    }
    if ((o->has_reconnect && (o->reconnect < 0 || o->reconnect > G_MAXINT)) ||
        (o->has_reconnect_ms && (o->reconnect_ms < 0 || o->reconnect_ms > G_MAXINT))) {
        return tm_error_set(errp, "the time to reconnect must be from 0 to %d", G_MAXINT);
    }
    return true;
}

/* --- connections --- */

static void co_on_connection(Socket *socket, void *opaque)
{
    Chardev *chardev = opaque;

    listener_set_paused(chardev->listener, true);
    chardev->ready = socket;
    co_queue_wake_all(&chardev->arrived);
}

static void co_wait_client(Chardev *chardev)
{
    while (!chardev->ready && !chardevs.stopped) {
        co_queue_wait(&chardev->arrived);
    }
}

static bool co_listen(Chardev *chardev, GError **errp)
{
    const ChardevSocketOptions *o = chardev->options;

    chardev->listener = co_listener_new(&chardev->addr, 1, co_on_connection, chardev, errp);
    if (!chardev->listener) {
        return false;
    }
    if (!o->has_wait || o->wait) {
        g_message("waiting for connection on %s", listener_address(chardev->listener));
        co_wait_client(chardev);
    }
    return true;
}

/* Tries until it works or there is no point any more. */
static Socket *co_reconnect(Chardev *chardev)
{
    Socket *socket = NULL;

    while (!chardevs.stopped && !(socket = co_socket_connect(&chardev->addr, NULL)) &&
           chardev->reconnect_ns) {
        chardev->retrying = true;
        co_sleep_until(&chardev->retry, loop_now_ns() + chardev->reconnect_ns);
        chardev->retrying = false;
    }
    return socket;
}

static bool co_open(Chardev *chardev, GError **errp)
{
    if (!read_addr(&chardev->addr, chardev->options, errp)) {
        return false;
    }
    if (is_server(chardev->options)) {
        return co_listen(chardev, errp);
    }
    if (chardev->reconnect_ns) {
        return true; /* when it is asked for a connection */
    }
    chardev->once = true;
    chardev->ready = co_socket_connect(&chardev->addr, errp);
    return chardev->ready != NULL;
}

bool co_chardev_add_socket(const ChardevSocketOptions *options, GError **errp)
{
    Chardev *chardev;

    if (!check_id(options->id, errp) || !check_socket_options(options, errp)) {
        return false;
    }
    chardev = chardev_new(options->id);
    chardev->options = ChardevSocketOptions_copy(options);
    chardev->reconnect_ns = options->has_reconnect_ms ? options->reconnect_ms * 1000000
                            : options->has_reconnect  ? options->reconnect * 1000000000
                                                      : 0;
    if (!co_open(chardev, errp)) {
        co_chardev_free(chardev);
        return false;
    }
    return true;
}

static bool has_stdio(void)
{
    for (guint i = 0; chardevs.all && i < chardevs.all->len; i++) {
        if (!((Chardev *)chardevs.all->pdata[i])->options) {
            return true;
        }
    }
    return false;
}

bool chardev_add_stdio(const char *id, GError **errp)
{
    Chardev *chardev;

    if (!check_id(id, errp)) {
        return false;
    }
    if (chardevs.no_stdio) {
        return tm_error_set(errp, "cannot use stdio with -daemonize");
    }
    if (has_stdio()) {
        return tm_error_set(errp, "cannot use stdio by multiple character devices");
    }
    chardev = chardev_new(id);
    chardev->once = true;
    chardev->ready = stdio_socket_new();
    return true;
}

void chardevs_forbid_stdio(void)
{
    chardevs.no_stdio = true;
}

bool chardev_claim(Chardev *chardev, GError **errp)
{
    if (chardev->claimed) {
        return tm_error_set(errp, "chardev '%s' is already in use", chardev->id);
    }
    chardev->claimed = true;
    return true;
}

Socket *co_chardev_connection(Chardev *chardev)
{
    if (chardev->listener) {
        co_wait_client(chardev);
    } else if (!chardev->ready && !chardev->once) {
        chardev->ready = co_reconnect(chardev);
    }
    return chardevs.stopped ? NULL : g_steal_pointer(&chardev->ready);
}

void chardev_disconnected(Chardev *chardev)
{
    if (chardev->listener && !chardevs.stopped) {
        listener_set_paused(chardev->listener, false);
    }
}

void chardevs_stop(void)
{
    chardevs.stopped = true;
    for (guint i = 0; chardevs.all && i < chardevs.all->len; i++) {
        Chardev *chardev = chardevs.all->pdata[i];

        co_queue_wake_all(&chardev->arrived);
        if (chardev->retrying) {
            co_sleep_wake(&chardev->retry);
        }
    }
}

void co_chardevs_free(void)
{
    while (chardevs.all && chardevs.all->len) {
        co_chardev_free(chardevs.all->pdata[chardevs.all->len - 1]);
    }
    g_clear_pointer(&chardevs.all, g_ptr_array_unref);
}
