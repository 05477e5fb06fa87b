/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the fuzz targets of the NBD server share: a served disk with bitmaps, and a client that
 * sends what it has to say and hears the server out.  Whatever it said the session must end then.
 */
#ifndef TESTS_FUZZ_FUZZ_NBD_H
#define TESTS_FUZZ_FUZZ_NBD_H

#include <errno.h>
#include <stdlib.h>

#include "block/node-bitmaps.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/nbd-export-util.h"

#define LARGEST_TALK (96u << 10) /* fits into a socket's buffer */
#define MAX_POLLS 200000

typedef struct FuzzTalk {
    const uint8_t *data;
    size_t size;
} FuzzTalk;

static Loop *fuzz_loop;
static Served served;

static void add_bitmap(const char *name, int64_t dirty)
{
    DirtyBitmap *bitmap = block_node_bitmap_add(served.node, name, 512, NULL);

    for (int64_t at = 0; at < dirty; at += 4096) {
        dirty_bitmap_set(bitmap, at, 512);
    }
}

/* Under the names "disk", as the unit tests have it, and "maps". */
static void co_serve(void *opaque)
{
    g_autoptr(GError) error = NULL;

    co_serve_disk(&served, NULL);
    add_bitmap("b0", EXPORT_SIZE);
    add_bitmap("b1", 0);
    co_add_export("{'type': 'nbd', 'id': 'maps', 'name': 'maps', 'node-name': 'disk', 'writable': "
                  "true, 'bitmaps': ['b0', 'b1'], 'allocation-depth': true}",
                  &error);
    g_assert_no_error(error);
}

static void co_stop(void *opaque)
{
    co_stop_serving(&served);
}

static void stop_serving(void)
{
    fuzz_in_co(fuzz_loop, co_stop, NULL);
}

/* What LLVMFuzzerInitialize() does; @tls_creds: those that TLS is required with, or NULL. */
static void fuzz_serve(UserObject *tls_creds)
{
    served.tls_creds = tls_creds;
    block_drivers_register();
    export_driver_register(&nbd_export_driver);
    fuzz_loop = fuzz_loop_new();
    fuzz_in_co(fuzz_loop, co_serve, NULL);
    atexit(stop_serving);
}

/* Reads what the server says until it has closed. */
static void co_hear_out(int fd)
{
    static char buffer[64 << 10];

    for (unsigned i = 0; i < MAX_POLLS; i++) {
        ssize_t got = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);

        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            return;
        }
        if (got < 0) {
            co_sleep_ns(20000);
        }
    }
    g_error("the server keeps a client that has said all");
}

static void co_talk(void *opaque)
{
    FuzzTalk *talk = opaque;
    int fd = connect_raw(served.socket);

    if (send(fd, talk->data, talk->size, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
        shutdown(fd, SHUT_WR);
        co_hear_out(fd);
    }
    close(fd);
}

/* Says it, from the client's flags on. */
static inline void fuzz_talk(const uint8_t *data, size_t size)
{
    FuzzTalk talk = {.data = data, .size = MIN(size, LARGEST_TALK)};

    fuzz_in_co(fuzz_loop, co_talk, &talk);
}

#endif
