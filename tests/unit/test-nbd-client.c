/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The nbd driver against qemu-nbd and nbdkit: requests, status, loss of the server, moves between
 * loops. */
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/disk-model.h"
#include "tests/unit/server-util.h"

/* A server that can be killed and started again, on an image that stays. */
typedef struct Server {
    char *dir, *socket, *image, *command;
    GPid pid;
} Server;

static void server_start(Server *server)
{
    server->pid = program_start(server->command);
}

/* @format takes the socket and then the image. */
static void server_init(Server *server, const char *format)
{
    server->dir = g_dir_make_tmp("tidemark-nbd-XXXXXX", NULL);
    server->socket = g_build_filename(server->dir, "s", NULL);
    server->image = g_build_filename(server->dir, "i", NULL);
    g_autofree char *zeroes = g_malloc0(MODEL_SIZE);
    g_assert_true(g_file_set_contents(server->image, zeroes, MODEL_SIZE, NULL));
    g_auto(GStrv) parts = g_strsplit(format, "%", 3);
    server->command =
        g_strconcat(parts[0], server->socket, parts[1], parts[1] ? server->image : NULL,
                    parts[1] ? parts[2] : NULL, NULL);
    server_start(server);
}

static void server_stop(Server *server)
{
    program_kill(server->pid);
    unlink(server->socket);
}

static void server_clear(Server *server)
{
    server_stop(server);
    unlink(server->image);
    rmdir(server->dir);
    g_free(server->dir);
    g_free(server->socket);
    g_free(server->image);
    g_free(server->command);
}

#define QEMU_NBD "qemu-nbd -t -f raw -x disk --discard=unmap --detect-zeroes=off -k % %"
#define NBDKIT "nbdkit -f -U % file %"
#define NBDKIT_BLOCKS                                                                              \
    "nbdkit -f --filter=blocksize-policy -U % file % blocksize-minimum=4096 "                      \
    "blocksize-preferred=8192 blocksize-maximum=16384 blocksize-error-policy=error"
#define NBDKIT_PLAIN "nbdkit -f --no-sr -U % file %"

/* Waits for the server by open-timeout. */
static BlockNode *co_open(const Server *server, const char *options)
{
    return co_open_json("{'driver': 'nbd', 'discard': 'unmap', 'open-timeout': 30, %s, 'server': "
                        "{'type': 'unix', 'path': '%s'}}",
                        options, server->socket);
}

static void co_user(TestUser *user, BlockNode *node)
{
    g_autoptr(GError) error = NULL;

    co_test_user_init(user, node, BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE, BLOCK_PERM_ALL,
                      &error);
    g_assert_no_error(error);
}

/* --- requests --------------------------------------------------------------------------------- */

static void co_exercise(const char *program, const char *command, const char *options)
{
    DiskModel *model;
    BlockNode *node;
    Server server;
    TestUser user;

    if (!program_there(program)) {
        return;
    }
    server_init(&server, command);
    node = co_open(&server, options);
    g_assert_cmpint(node->size, ==, MODEL_SIZE);
    model = disk_model_new();
    co_user(&user, node);
    co_disk_model_exercise(model, user.child, 16, 60);
    g_assert_cmpint(co_block_flush(user.child), ==, 0);
    for (int64_t at = 0; at < MODEL_SIZE;) {
        BlockStatus status;

        g_assert_cmpint(co_block_status(user.child, true, at, MODEL_SIZE - at, &status), ==, 0);
        g_assert_true(!(status.flags & BLOCK_STATUS_ZERO) ||
                      buffer_is_zero(model->bytes + at, status.bytes));
        at += status.bytes;
    }
    co_block_user_free(user.user);
    co_block_node_unref(node);
    disk_model_free(model);
    server_clear(&server);
}

static void co_qemu_nbd(void *opaque)
{
    co_exercise("qemu-nbd", QEMU_NBD, "'export': 'disk'");
}

static void co_nbdkit(void *opaque)
{
    co_exercise("nbdkit", NBDKIT, "'export': ''");
}

static void co_block_sizes(void *opaque)
{
    co_exercise("nbdkit", NBDKIT_BLOCKS, "'export': ''");
}

static void co_without_structured_replies(void *opaque)
{
    co_exercise("nbdkit", NBDKIT_PLAIN, "'export': ''");
}

/* --- errors of opening ------------------------------------------------------------------------ */

static void co_refused(const char *path, const char *options, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'nbd', %s, 'server': {'type': 'unix', 'path': '%s'}}", options, path);
    json_t *json = json_loads(g_strdelimit(text, "'", '"'), 0, NULL);
    g_autoptr(BlockdevOptions) parsed = BlockdevOptions_parse(json, NULL, &error);

    g_assert_no_error(error);
    g_assert_null(co_block_node_open(parsed, &error));
    g_assert_cmpstr(error->message, ==, message);
    json_decref(json);
}

static void co_open_errors(void *opaque)
{
    Server server;

    co_refused("nope.sock", "'export': ''",
               "Failed to connect to 'nope.sock': No such file or directory");
    co_refused("x", "'tls-creds': 't'", "No TLS credentials with id 't'");
    if (!program_there("qemu-nbd")) {
        return;
    }
    server_init(&server, "qemu-nbd -t -r -f raw -x disk -k % %");
    co_block_node_unref(co_open(&server, "'export': 'disk', 'read-only': true"));
    co_refused(server.socket, "'export': 'none'", "Requested export not available");
    co_refused(server.socket, "'export': 'disk'", "Could not open image: Permission denied");
    co_refused(server.socket,
               "'export': 'disk', 'read-only': true, 'x-dirty-bitmap': 'qemu:dirty-bitmap:b'",
               "Could not open image: Invalid argument");
    server_clear(&server);
}

static void co_auto_read_only(void *opaque)
{
    BlockNode *node;
    Server server;

    if (!program_there("qemu-nbd")) {
        return;
    }
    server_init(&server, "qemu-nbd -t -r -f raw -x disk -k % %");
    node = co_open(&server, "'export': 'disk', 'auto-read-only': true");
    g_assert_true(node->options.read_only);
    co_block_node_unref(node);
    server_clear(&server);
}

/* --- a server that goes away ------------------------------------------------------------------ */

typedef struct Reader {
    BlockChild *child;
    int ret;
    char buf[4096];
    Co *parent;
} Reader;

static void co_reader(void *opaque)
{
    Reader *r = opaque;

    r->ret = co_block_read_buf(r->child, 8192, r->buf, sizeof(r->buf));
    co_wake(r->parent);
}

static void co_reconnect(void *opaque)
{
    char data[4096], found[4096];
    BlockNode *node;
    Server server;
    TestUser user;

    if (!program_there("qemu-nbd")) {
        return;
    }
    server_init(&server, QEMU_NBD);
    node = co_open(&server, "'export': 'disk', 'reconnect-delay': 60");
    co_user(&user, node);
    memset(data, 9, sizeof(data));
    g_assert_cmpint(co_block_write_buf(user.child, 8192, data, sizeof(data), BLOCK_FUA), ==, 0);
    for (int i = 0; i < 3; i++) {
        Reader readers[20];

        server_stop(&server);
        for (unsigned j = 0; j < G_N_ELEMENTS(readers); j++) {
            readers[j] = (Reader){.child = user.child, .ret = 1, .parent = co_self()};
            co_start(co_reader, &readers[j]);
        }
        co_sleep_ns(20000000);
        for (unsigned j = 0; j < G_N_ELEMENTS(readers); j++) {
            g_assert_cmpint(readers[j].ret, ==, 1);
        }
        server_start(&server);
        for (unsigned j = 0; j < G_N_ELEMENTS(readers); j++) {
            co_yield ();
        }
        for (unsigned j = 0; j < G_N_ELEMENTS(readers); j++) {
            g_assert_cmpint(readers[j].ret, ==, 0);
            g_assert_cmpmem(readers[j].buf, 4096, data, 4096);
        }
    }
    g_assert_cmpint(co_block_read_buf(user.child, 8192, found, sizeof(found)), ==, 0);
    co_block_user_free(user.user);
    co_block_node_unref(node);
    server_clear(&server);
}

/* Without reconnect-delay requests fail at once, until the connection is there again. */
static void co_no_delay(void *opaque)
{
    char buf[512] = {0};
    BlockNode *node;
    Server server;
    TestUser user;
    int ret;

    if (!program_there("qemu-nbd")) {
        return;
    }
    server_init(&server, QEMU_NBD);
    node = co_open(&server, "'export': 'disk'");
    co_user(&user, node);
    g_assert_cmpint(co_block_write_buf(user.child, 0, buf, 512, 0), ==, 0);
    server_stop(&server);
    g_assert_cmpint(co_block_read_buf(user.child, 0, buf, 512), ==, -EIO);
    g_assert_cmpint(co_block_write_buf(user.child, 0, buf, 512, 0), ==, -EIO);
    g_assert_cmpint(co_block_flush(user.child), ==, -EIO);
    server_start(&server);
    while ((ret = co_block_read_buf(user.child, 0, buf, 512)) == -EIO) {
        co_sleep_ns(10000000);
    }
    g_assert_cmpint(ret, ==, 0);
    co_block_user_free(user.user);
    co_block_node_unref(node);
    server_clear(&server);
}

/* A node whose server is away is closed at once, with a long reconnect-delay and unflushed writes.
 */
static void co_close_while_away(void *opaque)
{
    char buf[512] = {0};
    BlockNode *node;
    Server server;
    TestUser user;
    int64_t start;

    if (!program_there("qemu-nbd")) {
        return;
    }
    server_init(&server, QEMU_NBD);
    node = co_open(&server, "'export': 'disk', 'reconnect-delay': 1000");
    co_user(&user, node);
    g_assert_cmpint(co_block_write_buf(user.child, 0, buf, 512, 0), ==, 0);
    server_stop(&server);
    server_start(&server);
    server_stop(&server);
    start = loop_now_ns();
    co_block_user_free(user.user);
    g_test_expect_message(NULL, G_LOG_LEVEL_WARNING, "*flush before closing failed*");
    co_block_node_unref(node);
    g_test_assert_expected_messages();
    g_assert_cmpint(loop_now_ns() - start, <, INT64_C(100000000000));
    server_start(&server);
    server_clear(&server);
}

/* A listener that accepts nothing, with connections before ours in its queue. */
static void make_deaf(int fds[4], const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
    for (int i = 0; i < 4; i++) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (i == 0) {
            g_assert_cmpint(bind(fds[0], (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
            g_assert_cmpint(listen(fds[0], 0), ==, 0);
        } else if (connect(fds[i], (struct sockaddr *)&addr, sizeof(addr)) < 0) {
            g_assert_cmpint(errno, ==, EAGAIN);
        }
    }
}

/* Connecting again hangs: closing the node ends that. */
static void co_close_while_connecting(void *opaque)
{
    char buf[512] = { 0 };
    BlockNode *node;
    Server server;
    TestUser user;
    int fds[4];

    if (!program_there("qemu-nbd")) {
        return;
    }
    server_init(&server, QEMU_NBD);
    node = co_open(&server, "'export': 'disk'");
    co_user(&user, node);
    g_assert_cmpint(co_block_read_buf(user.child, 0, buf, 512), ==, 0);
    server_stop(&server);
    make_deaf(fds, server.socket);
    g_assert_cmpint(co_block_read_buf(user.child, 0, buf, 512), ==, -EIO);
    co_sleep_ns(1200000000); /* the next attempt comes at the latest after a second */
    co_block_user_free(user.user);
    co_block_node_unref(node);
    for (int i = 0; i < 4; i++) {
        close(fds[i]);
    }
    unlink(server.socket);
    server_start(&server);
    server_clear(&server);
}

/* --- loops ------------------------------------------------------------------------------------ */

static void co_moves(void *opaque)
{
    g_autoptr(GError) error = NULL;
    Loop *control = loop_current(), *other = loop_new("other", &error);
    char buf[4096];
    BlockNode *node;
    Server server;
    TestUser user;

    g_assert_no_error(error);
    if (!program_there("qemu-nbd")) {
        loop_free(other);
        return;
    }
    g_assert_true(loop_start_thread(other, &error));
    server_init(&server, QEMU_NBD);
    node = co_open(&server, "'export': 'disk', 'reconnect-delay': 60");
    co_user(&user, node);
    for (int i = 0; i < 40; i++) {
        Loop *to = i % 2 ? control : other;

        g_assert_true(co_block_graph_move(node, to, &error));
        if (i == 20) {
            server_stop(&server);
            server_start(&server);
        }
        co_move(to);
        memset(buf, i, sizeof(buf));
        g_assert_cmpint(co_block_write_buf(user.child, 4096 * i, buf, sizeof(buf), 0), ==, 0);
        g_assert_cmpint(co_block_read_buf(user.child, 4096 * i, buf, sizeof(buf)), ==, 0);
        g_assert_cmpint(buf[4095], ==, i);
        co_move(control);
    }
    co_block_user_free(user.user);
    co_block_node_unref(node);
    loop_free(other);
    server_clear(&server);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    block_drivers_register();
    add_control_test("/nbd-client/qemu-nbd", co_qemu_nbd);
    add_control_test("/nbd-client/nbdkit", co_nbdkit);
    add_control_test("/nbd-client/block-sizes", co_block_sizes);
    add_control_test("/nbd-client/simple-replies", co_without_structured_replies);
    add_control_test("/nbd-client/open-errors", co_open_errors);
    add_control_test("/nbd-client/auto-read-only", co_auto_read_only);
    add_control_test("/nbd-client/reconnect", co_reconnect);
    add_control_test("/nbd-client/no-delay", co_no_delay);
    add_control_test("/nbd-client/close-while-away", co_close_while_away);
    add_control_test("/nbd-client/close-while-connecting", co_close_while_connecting);
    add_control_test("/nbd-client/moves", co_moves);
    return g_test_run();
}
