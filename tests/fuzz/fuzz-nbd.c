/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The input is what an NBD client sends, from its flags on: through negotiation into transmission.
 * The session ends when the client has gone, whatever it said, and the server takes the next one.
 */
#include <errno.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/nbd-export-util.h"

#define LARGEST_INPUT (96u << 10) /* fits into a socket's buffer */
#define MAX_POLLS 200000

typedef struct Talk {
    const uint8_t *data;
    size_t size;
} Talk;

static Loop *fuzz_loop;
static Served served;

static void co_serve(void *opaque)
{
    co_serve_disk(&served, NULL);
}

static void co_stop(void *opaque)
{
    co_stop_serving(&served);
}

static void stop_serving(void)
{
    fuzz_in_co(fuzz_loop, co_stop, NULL);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    block_drivers_register();
    export_driver_register(&nbd_export_driver);
    fuzz_loop = fuzz_loop_new();
    fuzz_in_co(fuzz_loop, co_serve, NULL);
    atexit(stop_serving);
    return 0;
}

/* Reads what the server says until it has closed. */
static void co_hear_out(int fd)
{
    char buffer[4096];

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
    Talk *talk = opaque;
    int fd = connect_raw(served.socket);

    if (send(fd, talk->data, talk->size, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
        shutdown(fd, SHUT_WR);
        co_hear_out(fd);
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Talk talk = {.data = data, .size = MIN(size, LARGEST_INPUT)};

    fuzz_in_co(fuzz_loop, co_talk, &talk);
    return 0;
}
