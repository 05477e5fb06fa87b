/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The input is a qcow2 image: it is opened, read, written, discarded, resized, checked and
 * repaired, and closed.  Whatever it says, there is no crash, no access outside of what was
 * allocated, no endless work, and memory is bounded (the fuzzer's limit).
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/block-util.h"

#define LARGEST_INPUT (1u << 20)
#define BUFFER (128 << 10)
#define CHECK_STEPS 2000 /* of a check; each may be the work of a refcount block */

typedef struct Image {
    FuzzDice dice;
    BlockNode *node;
    bool read_only;
    TestUser user;
    char *buffer;
} Image;

static char image_path[64];
static Loop *fuzz_loop;

static void remove_image(void)
{
    unlink(image_path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    int fd;

    g_strlcpy(image_path, "/dev/shm/tidemark-fuzz-XXXXXX", sizeof(image_path));
    fd = g_mkstemp(image_path);
    if (fd < 0) {
        g_error("no image in /dev/shm");
    }
    close(fd);
    atexit(remove_image);
    block_drivers_register();
    fuzz_loop = fuzz_loop_new();
    return 0;
}

/* Most often near the start, where the image has something. */
static int64_t an_offset(Image *image, int64_t len)
{
    int64_t room = image->node->size - len;
    bool near = fuzz_pick(&image->dice, 4) != 0;

    if (room <= 0) {
        return 0;
    }
    return (int64_t)fuzz_pick(&image->dice, near ? MIN(room + 1, 1 << 20) : room + 1) & ~511;
}

static int co_io(Image *image, unsigned op)
{
    BlockChild *child = image->user.child;
    int64_t len = (int64_t)(1 + fuzz_pick(&image->dice, BUFFER / 512)) * 512;
    BlockStatus status;

    len = MIN(len, image->node->size & ~511);
    int64_t offset = an_offset(image, len);
    switch (op) {
    case 0:
    case 1:
        return co_block_read_buf(child, offset, image->buffer, len);
    case 2:
    case 3:
        return co_block_write_buf(child, offset, image->buffer, len, 0);
    case 4:
        return co_block_write_zeroes(child, offset, len,
                                     fuzz_pick(&image->dice, 2) ? BLOCK_MAY_UNMAP : 0);
    case 5:
        return co_block_discard(child, offset, len);
    case 6:
        return co_block_status(child, fuzz_pick(&image->dice, 2), offset, len, &status);
    default:
        return co_block_flush(child);
    }
}

static void co_resize(Image *image)
{
    g_autoptr(GError) error = NULL;
    int64_t size = image->node->size + ((int64_t)fuzz_pick(&image->dice, 4096) - 2048) * 512;

    if (size > 0) {
        co_block_truncate(image->user.child, size & ~511, true, PREALLOC_MODE_OFF, &error);
    }
}

static bool had_enough(void *opaque)
{
    unsigned *steps = opaque;

    return ++*steps > CHECK_STEPS;
}

static void co_check(Image *image)
{
    BlockCheckResult result = {0};
    unsigned steps = 0, fix = fuzz_pick(&image->dice, 4);

    if (co_block_flush(image->user.child) == 0) {
        int ret = image->node->driver->image->co_check(image->node, fix, &result, had_enough,
                                                       &steps);
        (void)ret; /* any will do */
    }
}

static void co_use(Image *image)
{
    unsigned n = 4 + fuzz_pick(&image->dice, 12);

    for (unsigned i = 0; i < n && image->node->size >= 512; i++) {
        unsigned op = fuzz_pick(&image->dice, 12);

        if (op < 10) {
            int ret = co_io(image, op);
            (void)ret; /* any will do */
        } else if (op == 10) {
            co_resize(image);
        } else {
            co_check(image);
        }
    }
}

/* No backing and data file but null ones: the image would name files of this machine. */
static BlockNode *co_open_image(Image *image)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BlockdevOptions) options = NULL;
    bool data_file = fuzz_pick(&image->dice, 4) == 0;
    g_autofree char *text = g_strdup_printf(
        "{\"driver\": \"qcow2\", \"node-name\": \"q\", \"read-only\": %s, \"discard\": \"unmap\","
        " \"backing\": null, \"l2-cache-size\": 65536%s,"
        " \"file\": {\"driver\": \"file\", \"filename\": \"%s\", \"read-only\": %s}}",
        image->read_only ? "true" : "false",
        data_file ? ", \"data-file\": {\"driver\": \"null-co\", \"size\": 1048576}" : "",
        image_path, image->read_only ? "true" : "false");
    json_t *json = json_loads(text, 0, NULL);

    options = BlockdevOptions_parse(json, NULL, &error);
    g_assert_no_error(error);
    json_decref(json);
    return co_block_node_open(options, &error);
}

static void co_one_image(void *opaque)
{
    Image *image = opaque;
    g_autoptr(GError) error = NULL;

    image->read_only = fuzz_pick(&image->dice, 4) == 0;
    co_control_lock();
    image->node = co_open_image(image);
    if (image->node) {
        unsigned perm = BLOCK_PERM_ALL;

        if (image->read_only) {
            perm &= ~(BLOCK_PERM_WRITE | BLOCK_PERM_WRITE_UNCHANGED | BLOCK_PERM_RESIZE);
        }
        if (co_test_user_init(&image->user, image->node, perm, BLOCK_PERM_ALL, &error)) {
            control_unlock();
            co_use(image);
            co_control_lock();
            co_block_user_free(image->user.user);
        }
        co_block_node_unref(image->node);
    }
    control_unlock();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Image image = {.dice = fuzz_dice(data, size)};
    int fd = open(image_path, O_RDWR | O_TRUNC | O_CLOEXEC);

    if (fd < 0 || size > LARGEST_INPUT || write(fd, data, size) != (ssize_t)size) {
        close(fd);
        return 0;
    }
    close(fd);
    image.buffer = g_malloc0(BUFFER);
    memset(image.buffer, 'f', BUFFER);
    fuzz_in_co(fuzz_loop, co_one_image, &image);
    g_free(image.buffer);
    return 0;
}
