/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The NBD export, by clients that do it right, do it slowly, do it wrong, or go away. */
#include <string.h>

#include "nbd-export/buffer-pool.h"
#include "tests/unit/nbd-export-util.h"

static uint32_t test_seed;

/* --- Buffers --- */

static void test_buffer_pool(void)
{
    NbdBufferStore store = {0};
    NbdBufferPool pool = {.store = &store}, other = {.store = &store};
    void *large[3];

    large[0] = nbd_buffer_get(&pool, NBD_MAX_PAYLOAD);
    g_assert_true(nbd_buffers_have_room(&pool, NBD_MAX_PAYLOAD));
    large[1] = nbd_buffer_get(&pool, NBD_MAX_PAYLOAD - 1);
    g_assert_false(nbd_buffers_have_room(&pool, 1));
    nbd_buffer_put(&pool, large[0], NBD_MAX_PAYLOAD);
    g_assert_cmpuint(store.bytes_kept, ==, 0); /* more than is kept */
    large[2] = nbd_buffer_get(&pool, 4097);
    g_assert_cmpuint(pool.bytes_used, ==, NBD_MAX_PAYLOAD + 8192);
    nbd_buffer_put(&pool, large[2], 4097);
    g_assert_true(nbd_buffer_get(&other, 8192) == large[2]); /* what one gives back, another gets */
    g_assert_cmpuint(other.bytes_used, ==, 8192);
    other.store = NULL;
    nbd_buffer_put(&other, large[2], 8192);
    g_assert_cmpuint(store.bytes_kept, ==, 0);
    nbd_buffer_put(&pool, large[1], NBD_MAX_PAYLOAD - 1);
    g_assert_cmpuint(pool.bytes_used + other.bytes_used, ==, 0);
    nbd_buffers_clear(&store);
}

/* --- A served disk, for as long as a function of the test runs --- */

typedef struct Scene {
    void (*co_fn)(Served *served);
    Loop *loop0, *other;
} Scene;

static void co_scene(void *opaque)
{
    Scene *scene = opaque;
    Served served;

    co_serve_disk(&served, scene->other);
    scene->co_fn(&served);
    co_stop_serving(&served);
    worker_pool_shutdown();
    loop_stop(scene->loop0);
}

static void run_scene(gconstpointer co_fn)
{
    g_autoptr(GError) error = NULL;
    Scene scene = {.loop0 = loop_new("loop0", &error), .other = loop_new("other", &error)};

    scene.co_fn = (void (*)(Served *))co_fn;
    g_assert_true(loop_start_thread(scene.other, &error));
    control_init(scene.loop0);
    co_start_on(scene.loop0, co_scene, &scene);
    loop_run(scene.loop0);
    loop_free(scene.other);
    loop_free(scene.loop0);
}

/* --- Clients that do it right --- */

/* Random requests on the client's own part of the disk against a model of it. */
static void random_client(Client *c)
{
    GRand *rand = g_rand_new_with_seed(c->seed);
    struct nbd_handle *h = connect_disk(c->socket, g_rand_boolean(rand));
    size_t size = c->end - c->start;
    g_autofree uint8_t *model = g_malloc0(size), *buf = g_malloc(size);

    for (unsigned i = 0; i < c->rounds; i++) {
        size_t at = g_rand_int_range(rand, 0, size);
        size_t len = g_rand_int_range(rand, 1, g_rand_boolean(rand) ? 4097 : size);

        len = MIN(len, size - at);
        switch (g_rand_int_range(rand, 0, 5)) {
        case 0:
        case 1:
            memset(model + at, g_rand_int_range(rand, 0, 256), len);
            nbd_ok(nbd_pwrite(h, model + at, len, c->start + at,
                              g_rand_int_range(rand, 0, 20) ? 0 : LIBNBD_CMD_FLAG_FUA));
            break;
        case 2:
            memset(model + at, 0, len);
            nbd_ok(nbd_zero(h, len, c->start + at,
                            g_rand_boolean(rand) ? LIBNBD_CMD_FLAG_NO_HOLE : 0));
            break;
        default:
            memset(buf, 0xa5, len);
            nbd_ok(nbd_pread(h, buf, len, c->start + at, 0));
            g_assert_cmpmem(buf, len, model + at, len);
        }
    }
    nbd_ok(nbd_flush(h, 0));
    nbd_ok(nbd_shutdown(h, 0));
    nbd_close(h);
    g_rand_free(rand);
}

#define CLIENTS 4

static void start_random_clients(const Served *served, Client *clients, unsigned *running,
                                 unsigned rounds)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (Client){
            .fn = random_client,
            .socket = served->socket,
            .seed = test_seed + i,
            .start = i * (EXPORT_SIZE / CLIENTS),
            .end = (i + 1) * (EXPORT_SIZE / CLIENTS),
            .rounds = rounds,
        };
        client_start(&clients[i], running);
    }
}

static void co_test_requests(Served *served)
{
    Client clients[CLIENTS];
    unsigned running = 0;

    start_random_clients(served, clients, &running, 500);
    while (running) {
        co_sleep_ns(1000000);
    }
}

/* The graph moves between the loops, and is drained, while clients work. */
static void co_test_move(Served *served)
{
    Client clients[CLIENTS];
    unsigned running = 0;

    start_random_clients(served, clients, &running, 2000);
    for (unsigned i = 0; i < 1000; i++) {
        co_move_disk(served, served->loops[(i + 1) % 2]);
        if (i % 16 == 0) {
            co_sleep_ns(1000000);
        }
    }
    while (running) {
        co_sleep_ns(1000000);
    }
}

/* --- A slow one --- */

#define SLOW_REQUESTS 40
#define SLOW_LEN 300000

typedef struct SlowClient {
    Client client;
    GAsyncQueue *go; /* it reads when something comes here */
} SlowClient;

/* Asks for more than the socket holds, and reads only when it is told. */
static void slow_client(Client *client)
{
    SlowClient *slow = (SlowClient *)client;
    int fd = connect_raw_disk(client->socket);
    g_autofree uint8_t *buf = g_malloc(SLOW_LEN);
    uint8_t head[NBD_SIMPLE_REPLY_SIZE];
    bool seen[SLOW_REQUESTS] = {false};

    for (unsigned i = 0; i < SLOW_REQUESTS; i++) {
        g_assert_true(request_raw(fd, NBD_CMD_READ, i, i * 4096, SLOW_LEN));
    }
    g_async_queue_pop(slow->go);
    for (unsigned i = 0; i < SLOW_REQUESTS; i++) {
        g_assert_true(recv_raw(fd, head, sizeof(head)) && recv_raw(fd, buf, SLOW_LEN));
        g_assert_cmpuint(get_be32(head), ==, NBD_SIMPLE_REPLY_MAGIC);
        g_assert_cmpuint(get_be32(head + 4), ==, 0);
        g_assert_cmpuint(get_be64(head + 8), <, SLOW_REQUESTS);
        g_assert_false(seen[get_be64(head + 8)]);
        seen[get_be64(head + 8)] = true;
        g_assert_true(buffer_is_zero(buf, SLOW_LEN));
    }
    close(fd);
}

/* Neither drain nor a move waits for it, and it loses nothing. */
static void co_test_slow_reader(Served *served)
{
    SlowClient slow = {.client = {.fn = slow_client, .socket = served->socket}};
    unsigned running = 0;

    slow.go = g_async_queue_new();
    client_start(&slow.client, &running);
    for (unsigned i = 0; i < 101; i++) {
        co_move_disk(served, served->loops[(i + 1) % 2]);
        co_sleep_ns(500000);
    }
    g_async_queue_push(slow.go, &slow);
    while (running) {
        co_sleep_ns(1000000);
    }
    g_async_queue_unref(slow.go);
}

/* --- Those that do it wrong or go away --- */

/* Each round another kind of rubbish, or a request that is abandoned. */
static void rude_client(Client *c)
{
    GRand *rand = g_rand_new_with_seed(c->seed);
    uint8_t junk[3000];

    for (unsigned i = 0; i < c->rounds; i++) {
        bool negotiated = g_rand_boolean(rand);
        int fd = negotiated ? connect_raw_disk(c->socket) : connect_raw(c->socket);
        unsigned requests = g_rand_int_range(rand, 0, 100);

        for (unsigned k = 0; k < sizeof(junk); k++) {
            junk[k] = g_rand_int(rand);
        }
        while (negotiated && requests-- > 0) {
            uint16_t command = g_rand_int_range(rand, 0, 10);

            if (!request_raw(fd, command, requests, g_rand_int_range(rand, 0, EXPORT_SIZE),
                             g_rand_int_range(rand, 0, 100000)) ||
                command == NBD_CMD_WRITE) {
                break;
            }
        }
        send_raw(fd, junk, g_rand_int_range(rand, 1, sizeof(junk)));
        close(fd);
    }
    g_rand_free(rand);
}

static void co_test_rude(Served *served)
{
    Client clients[CLIENTS], polite = {
                                 .fn = random_client,
                                 .socket = served->socket,
                                 .seed = test_seed,
                                 .start = 0,
                                 .end = 0,
                             };
    unsigned running = 0;

    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (Client){
            .fn = rude_client, .socket = served->socket, .seed = test_seed + i, .rounds = 60};
        client_start(&clients[i], &running);
    }
    for (unsigned i = 0; running; i++) {
        co_move_disk(served, served->loops[i % 2]);
        co_sleep_ns(3000000);
    }
    polite.end = 4096;
    polite.rounds = 0; /* the others have left what they like: only that it is served */
    client_start(&polite, &running);
    while (running) {
        co_sleep_ns(1000000);
    }
}

/* --- Removal --- */

/* Works until its connection ends, which it must. */
static void victim(Client *c)
{
    struct nbd_handle *h = connect_disk(c->socket, true);
    uint8_t buf[4096];

    while (nbd_pread(h, buf, sizeof(buf), 0, 0) == 0) {
    }
    nbd_close(h);
}

static void co_wait_for_client(void)
{
    while (export_find("e")->clients == 0) {
        co_sleep_ns(100000);
    }
}

static void co_test_remove(Served *served)
{
    Client client = {.fn = victim, .socket = served->socket};
    g_autoptr(GError) error = NULL;
    unsigned running = 0;

    client_start(&client, &running);
    co_wait_for_client();
    co_control_lock();
    g_assert_false(co_export_del("e", false, &error));
    g_assert_cmpstr(error->message, ==, "export 'e' still in use");
    g_clear_error(&error);
    g_assert_true(co_export_del("e", true, &error));
    control_unlock();
    while (running || export_find("e")) {
        co_sleep_ns(100000);
    }
    co_control_lock();
    g_assert_false(co_export_del("e", true, &error));
    control_unlock();
    g_assert_cmpstr(error->message, ==, "Export 'e' is not found");
}

/* The errors of adding, and that they leave nothing behind. */
static void co_test_add_errors(Served *served)
{
    static const struct {
        const char *options, *message;
    } cases[] = {
        {"{'type': 'nbd', 'id': '1', 'node-name': 'none'}", "Invalid block export id"},
        {"{'type': 'nbd', 'id': 'e', 'node-name': 'none'}",
         "Block export id 'e' is already in use"},
        {"{'type': 'nbd', 'id': 'f', 'node-name': 'none'}",
         "Cannot find device='' nor node-name='none'"},
        {"{'type': 'nbd', 'id': 'f', 'node-name': 'disk'}",
         "NBD server already has export named 'disk'"},
        {"{'type': 'nbd', 'id': 'f', 'node-name': 'disk', 'name': 'f', 'bitmaps': ['b']}",
         "Bitmap 'b' is not found"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        co_add_export(cases[i].options, &error);
        g_assert_nonnull(error);
        g_assert_cmpstr(error->message, ==, cases[i].message);
    }
    g_assert_cmpuint(export_list()->len, ==, 1);
    g_assert_cmpuint(served->node->parents->len, ==, 1);
}

int main(int argc, char **argv)
{
    const char *seed = g_getenv("TIDEMARK_SEED");

    g_test_init(&argc, &argv, NULL);
    test_seed = seed ? strtoul(seed, NULL, 0) : g_random_int();
    g_test_message("TIDEMARK_SEED=%u", test_seed);
    block_drivers_register();
    export_driver_register(&nbd_export_driver);
    g_test_add_func("/nbd-export/buffer-pool", test_buffer_pool);
    g_test_add_data_func("/nbd-export/add-errors", co_test_add_errors, run_scene);
    g_test_add_data_func("/nbd-export/requests", co_test_requests, run_scene);
    g_test_add_data_func("/nbd-export/move", co_test_move, run_scene);
    g_test_add_data_func("/nbd-export/slow-reader", co_test_slow_reader, run_scene);
    g_test_add_data_func("/nbd-export/rude", co_test_rude, run_scene);
    g_test_add_data_func("/nbd-export/remove", co_test_remove, run_scene);
    return g_test_run();
}
