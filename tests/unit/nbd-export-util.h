/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For tests of the NBD export: a disk that is served, and clients in threads of their own, so that
 * they can block like any other program's.
 */
#ifndef TESTS_UNIT_NBD_EXPORT_UTIL_H
#define TESTS_UNIT_NBD_EXPORT_UTIL_H

#include <libnbd.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "io/worker.h"
#include "nbd-export/protocol.h"
#include "nbd-export/server.h"
#include "tests/unit/block-util.h"

#define EXPORT_SIZE (1 << 20)

typedef struct Served {
    char *image, *socket;
    BlockNode *node;
    Loop *loops[2]; /* loop 0 and another one */
    UserObject *tls_creds; /* set before: TLS is required with them; else NULL */
} Served;

static inline void co_add_export(const char *text, GError **errp)
{
    g_autofree char *json_text = g_strdelimit(g_strdup(text), "'", '"');
    g_autoptr(BlockExportOptions) options = NULL;
    json_t *json = json_loads(json_text, 0, NULL);

    options = BlockExportOptions_parse(json, NULL, errp);
    g_assert_nonnull(options);
    json_decref(json);
    co_control_lock();
    co_export_add(options, NULL, errp);
    control_unlock();
}

/* A file of zeroes, served under the name "disk". */
static inline void co_serve_disk(Served *s, Loop *other)
{
    g_autoptr(GError) error = NULL;
    NbdServerConfig config = {.max_connections = 32, .handshake_seconds = 10};

    s->image = make_image(EXPORT_SIZE);
    s->socket = g_strconcat(s->image, ".sock", NULL);
    s->loops[0] = loop_current();
    s->loops[1] = other;
    config.addr = (SocketAddr){.kind = SOCKET_ADDR_UNIX, .path = s->socket};
    config.tls_creds = s->tls_creds;
    co_control_lock();
    s->node = co_open_json("{'driver': 'file', 'node-name': 'disk', 'filename': '%s', 'discard': "
                           "'unmap'}",
                           s->image);
    control_unlock();
    g_assert_true(co_nbd_server_start(&config, &error));
    co_add_export("{'type': 'nbd', 'id': 'e', 'node-name': 'disk', 'writable': true}", &error);
    g_assert_no_error(error);
}

static inline void co_stop_serving(Served *s)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(co_nbd_server_stop(&error));
    co_control_lock();
    co_block_node_unref(s->node);
    control_unlock();
    unlink(s->image);
    g_free(s->image);
    g_free(s->socket);
}

static inline void co_move_disk(Served *s, Loop *loop)
{
    g_autoptr(GError) error = NULL;

    co_control_lock();
    g_assert_true(co_block_graph_move(s->node, loop, &error));
    control_unlock();
}

/* --- Clients --- */

typedef struct Client {
    void (*fn)(struct Client *client);
    const char *socket;
    uint32_t seed;
    int64_t start, end; /* its part of the disk */
    unsigned rounds;
    unsigned *running; /* counted down on loop 0 */
    Loop *loop;
    GThread *thread;
} Client;

static inline void client_gone(void *opaque)
{
    Client *client = opaque;

    g_thread_join(client->thread);
    (*client->running)--;
}

static inline void *client_main(void *opaque)
{
    Client *client = opaque;

    client->fn(client);
    loop_call(client->loop, client_gone, client);
    return NULL;
}

static inline void client_start(Client *client, unsigned *running)
{
    client->running = running;
    client->loop = loop_current();
    (*running)++;
    client->thread = g_thread_new("client", client_main, client);
}

/* A libnbd handle on the export "disk"; checks that calls succeed. */
#define nbd_ok(call) g_assert_cmpint((call), !=, -1)

static inline struct nbd_handle *connect_disk(const char *socket, bool structured)
{
    struct nbd_handle *h = nbd_create();

    g_assert_nonnull(h);
    nbd_ok(nbd_set_export_name(h, "disk"));
    nbd_ok(nbd_set_request_structured_replies(h, structured));
    nbd_ok(nbd_add_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION));
    nbd_ok(nbd_connect_unix(h, socket));
    return h;
}

/* The protocol by hand. */
static inline int connect_raw(const char *socket_path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(addr.sun_path, socket_path, sizeof(addr.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    return fd;
}

static inline bool send_raw(int fd, const void *data, size_t len)
{
    return send(fd, data, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static inline bool recv_raw(int fd, void *data, size_t len)
{
    return len == 0 || recv(fd, data, len, MSG_WAITALL) == (ssize_t)len;
}

/* Greeting, client flags and EXPORT_NAME: the shortest way into transmission. */
static inline int connect_raw_disk(const char *socket_path)
{
    uint8_t hello[18], option[4 + NBD_OPTION_HEADER_SIZE + 4], answer[10];
    int fd = connect_raw(socket_path);
    uint8_t *p = nbd_put32(option, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);

    p = nbd_put64(p, NBD_OPTION_MAGIC);
    p = nbd_put32(nbd_put32(p, NBD_OPT_EXPORT_NAME), 4);
    memcpy(p, "disk", 4);
    g_assert_true(recv_raw(fd, hello, sizeof(hello)));
    g_assert_true(send_raw(fd, option, sizeof(option)));
    g_assert_true(recv_raw(fd, answer, sizeof(answer)));
    g_assert_cmpuint(get_be64(answer), ==, EXPORT_SIZE);
    return fd;
}

static inline bool request_raw(int fd, uint16_t command, uint64_t cookie, uint64_t offset,
                               uint32_t length)
{
    uint8_t request[NBD_REQUEST_SIZE], *p = nbd_put32(request, NBD_REQUEST_MAGIC);

    p = nbd_put64(nbd_put16(nbd_put16(p, 0), command), cookie);
    nbd_put32(nbd_put64(p, offset), length);
    return send_raw(fd, request, sizeof(request));
}

#endif
