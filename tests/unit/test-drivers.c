/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The drivers, through the gate: file, raw, null-co, blkdebug; nbd is in test-nbd-client.c. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/disk-model.h"
#include "tests/unit/server-util.h"

static void co_user(TestUser *user, BlockNode *node)
{
    g_autoptr(GError) error = NULL;

    co_test_user_init(user, node, BLOCK_PERM_ALL, BLOCK_PERM_ALL, &error);
    g_assert_no_error(error);
}

static void co_expect_refused(const char *json, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdelimit(g_strdup(json), "'", '"');
    json_t *parsed = json_loads(text, 0, NULL);
    g_autoptr(BlockdevOptions) options = BlockdevOptions_parse(parsed, NULL, &error);

    g_assert_no_error(error);
    g_assert_null(co_block_node_open(options, &error));
    g_assert_cmpstr(error->message, ==, message);
    json_decref(parsed);
}

/* --- file ------------------------------------------------------------------------------------- */

/* What block status calls zero must read as zeroes; what was unmapped must be called zero. */
static void co_check_status(BlockChild *child, const DiskModel *model)
{
    for (int64_t at = 0; at < MODEL_SIZE;) {
        BlockStatus status;

        g_assert_cmpint(co_block_status(child, true, at, MODEL_SIZE - at, &status), ==, 0);
        g_assert_cmpint(status.bytes, >, 0);
        g_assert_cmpint(status.bytes, <=, MODEL_SIZE - at);
        if (status.flags & BLOCK_STATUS_ZERO) {
            g_assert_true(buffer_is_zero(model->bytes + at, status.bytes));
        }
        at += status.bytes;
    }
}

static void co_random_file(const char *format)
{
    g_autofree char *path = make_image(MODEL_SIZE);
    g_autofree char *json = g_strdup_printf("%s, 'filename': '%s'}", format, path);
    g_autofree char *found = NULL;
    BlockNode *node = co_open_json("%s", json);
    DiskModel *model = disk_model_new();
    TestUser user;
    gsize len;

    co_user(&user, node);
    for (int i = 0; i < 10; i++) {
        co_disk_model_exercise(model, user.child, 8, 40);
        co_check_status(user.child, model);
    }
    g_assert_cmpint(co_block_flush(user.child), ==, 0);
    g_assert_true(g_file_get_contents(path, &found, &len, NULL));
    g_assert_cmpmem(found, len, model->bytes, MODEL_SIZE);
    co_block_user_free(user.user);
    co_block_node_unref(node);
    disk_model_free(model);
    unlink(path);
}

static void co_file_random(void *opaque)
{
    co_random_file("{'driver': 'file', 'discard': 'unmap'");
}

static bool has_direct(void)
{
    g_autofree char *path = make_image(4096);
    int fd = open(path, O_RDWR | O_DIRECT);

    unlink(path);
    close(fd);
    return fd >= 0;
}

static void co_file_direct(void *opaque)
{
    if (!has_direct()) {
        g_test_skip("the file system has no O_DIRECT");
        return;
    }
    co_random_file("{'driver': 'file', 'discard': 'unmap', 'cache': {'direct': true}");
}

static int64_t co_run_of(BlockChild *child, int64_t at, bool zero)
{
    BlockStatus status;

    g_assert_cmpint(co_block_status(child, true, at, MODEL_SIZE - at, &status), ==, 0);
    g_assert_cmpint(!!(status.flags & BLOCK_STATUS_ZERO), ==, zero);
    return status.bytes;
}

/* Answers follow what the node itself does, whatever was remembered. */
static void co_file_holes(void *opaque)
{
    g_autofree char *path = make_image(MODEL_SIZE);
    g_autofree char *data = g_malloc0(MODEL_SIZE);
    BlockNode *node =
        co_open_json("{'driver': 'file', 'filename': '%s', 'discard': 'unmap'}", path);
    TestUser user;

    memset(data, 7, MODEL_SIZE);
    co_user(&user, node);
    g_assert_cmpint(co_run_of(user.child, 0, true), ==, MODEL_SIZE);
    g_assert_cmpint(co_block_write_buf(user.child, 0, data, MODEL_SIZE, 0), ==, 0);
    g_assert_cmpint(co_run_of(user.child, 0, false), ==, MODEL_SIZE);
    g_assert_cmpint(co_block_discard(user.child, 65536, 65536), ==, 0);
    g_assert_cmpint(co_run_of(user.child, 0, false), ==, 65536);
    g_assert_cmpint(co_run_of(user.child, 65536, true), ==, 65536);
    g_assert_cmpint(co_block_write_zeroes(user.child, 0, 65536, BLOCK_MAY_UNMAP), ==, 0);
    g_assert_cmpint(co_run_of(user.child, 0, true), ==, 131072);
    g_assert_cmpint(co_block_write_buf(user.child, 4096, data, 4096, BLOCK_FUA), ==, 0);
    g_assert_cmpint(co_run_of(user.child, 0, true), ==, 4096);
    g_assert_cmpint(co_run_of(user.child, 4096, false), ==, 4096);
    g_assert_cmpint(node->driver->image->co_allocated_size(node), <=, MODEL_SIZE - 114688);
    co_block_user_free(user.user);
    co_block_node_unref(node);
    unlink(path);
}

static void co_file_size(void *opaque)
{
    g_autofree char *path = make_image(1000);
    g_autofree char *found = NULL;
    g_autoptr(GError) error = NULL;
    BlockNode *node = co_open_json("{'driver': 'file', 'filename': '%s'}", path);
    char buf[1024], zeroes[1024] = {0};
    TestUser user;

    memset(buf, 1, sizeof(buf));
    co_user(&user, node);
    g_assert_cmpint(node->size, ==, 1024);
    g_assert_cmpint(co_block_read_buf(user.child, 0, buf, 1024), ==, 0);
    g_assert_cmpmem(buf, 1024, zeroes, 1024);
    g_assert_true(co_block_truncate(user.child, 1 << 20, true, PREALLOC_MODE_OFF, &error));
    g_assert_cmpint(node->size, ==, 1 << 20);
    g_assert_true(co_block_truncate(user.child, 2 << 20, true, PREALLOC_MODE_FULL, &error));
    g_assert_cmpint(node->driver->image->co_allocated_size(node), >=, 1 << 20);
    g_assert_false(co_block_truncate(user.child, 4096, true, PREALLOC_MODE_FALLOC, &error));
    g_assert_cmpstr(error->message, ==, "Cannot use preallocation for shrinking files");
    co_block_user_free(user.user);
    co_block_node_unref(node);
    unlink(path);
}

static void co_file_errors(void *opaque)
{
    co_expect_refused("{'driver': 'file', 'filename': '/nonexistent/a'}",
                      "Could not open '/nonexistent/a': No such file or directory");
    co_expect_refused("{'driver': 'file', 'filename': '/tmp'}",
                      "Could not open '/tmp': Is a directory");
    co_expect_refused("{'driver': 'host_device', 'filename': '/proc/version', 'read-only': true}",
                      "'host_device' driver requires '/proc/version' to be either a character or "
                      "block device");
    co_expect_refused("{'driver': 'file', 'filename': '/dev/null'}",
                      "'file' driver requires '/dev/null' to be a regular file");
    co_expect_refused("{'driver': 'file', 'filename': '/proc/version', 'read-only': true, "
                      "'aio': 'native'}",
                      "aio=native was specified, but it requires cache.direct=on, which was not "
                      "specified.");
}

/* --- raw -------------------------------------------------------------------------------------- */

static void co_raw_window(void *opaque)
{
    const int64_t before = 512 * 3, after = 4096;
    g_autofree char *path = make_image(before + MODEL_SIZE + after);
    g_autofree char *found = NULL;
    gsize len;
    DiskModel *model = disk_model_new();
    BlockNode *node =
        co_open_json("{'driver': 'raw', 'offset': %d, 'size': %d, 'discard': 'unmap', "
                     "'file': {'driver': 'file', 'filename': '%s'}}",
                     (int)before, MODEL_SIZE, path);
    TestUser user;

    co_user(&user, node);
    g_assert_cmpint(node->size, ==, MODEL_SIZE);
    co_disk_model_exercise(model, user.child, 8, 100);
    co_check_status(user.child, model);
    co_block_user_free(user.user);
    co_block_node_unref(node);
    g_assert_true(g_file_get_contents(path, &found, &len, NULL));
    g_assert_true(buffer_is_zero(found, before));
    g_assert_cmpmem(found + before, MODEL_SIZE, model->bytes, MODEL_SIZE);
    g_assert_true(buffer_is_zero(found + before + MODEL_SIZE, after));
    disk_model_free(model);
    unlink(path);
}

static void co_raw_errors(void *opaque)
{
    const char *file = "'file': {'driver': 'null-co', 'size': 1048576}}";
    const char *const cases[][2] = {
        {"'offset': -1", "Value '-1' is out of range for parameter 'offset'"},
        {"'offset': 2097152",
         "Offset (2097152) cannot be greater than size of the containing file (1048576)"},
        {"'size': 100", "Specified size is not multiple of 512"},
        {"'offset': 524288, 'size': 1048576",
         "The sum of offset (524288) and size (1048576) has to be smaller or equal to the  actual "
         "size of the containing file (1048576)"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *json = g_strdup_printf("{'driver': 'raw', %s, %s", cases[i][0], file);

        co_expect_refused(json, cases[i][1]);
    }
}

/* --- image locks ------------------------------------------------------------------------------ */

static void co_expect_locked(BlockNode *node, unsigned perm, unsigned shared, const char *message)
{
    g_autoptr(GError) error = NULL;
    TestUser user;

    g_assert_false(co_test_user_init(&user, node, perm, shared, &error));
    g_assert_cmpstr(error->message, ==, message);
}

static void co_locks_between_nodes(void *opaque)
{
    const unsigned read = BLOCK_PERM_CONSISTENT_READ, write = read | BLOCK_PERM_WRITE;
    g_autofree char *path = make_image(65536);
    BlockNode *a = co_open_json("{'driver': 'file', 'filename': '%s'}", path);
    BlockNode *b = co_open_json("{'driver': 'file', 'filename': '%s'}", path);
    TestUser first, second;

    g_assert_true(co_test_user_init(&first, a, write, read, NULL));
    co_expect_locked(b, write, BLOCK_PERM_ALL, "Failed to get \"write\" lock");
    co_expect_locked(b, read, read, "Failed to get shared \"write\" lock");
    co_expect_locked(b, read | BLOCK_PERM_RESIZE, BLOCK_PERM_ALL, "Failed to get \"resize\" lock");
    g_assert_true(co_test_user_init(&second, b, read, BLOCK_PERM_ALL, NULL));
    co_block_user_free(first.user);
    g_assert_true(co_test_user_init(&first, b, write, BLOCK_PERM_ALL, NULL));
    co_block_user_free(first.user);
    co_block_user_free(second.user);
    co_block_node_unref(a);
    co_block_node_unref(b);
    unlink(path);
}

static void expect_qemu_io(const char *path, const char *command, bool refused)
{
    g_autofree char *line = g_strdup_printf("qemu-io -f raw -c '%s' %s", command, path);
    int status;
    g_autofree char *out = program_run(line, &status);

    g_assert_cmpint(strstr(out, "lock") != NULL, ==, refused);
    g_assert_cmpint(status != 0, ==, refused);
}

static void co_locks_against_qemu(void *opaque)
{
    g_autofree char *path = make_image(65536);
    BlockNode *node;
    TestUser user;

    if (!program_there("qemu-io")) {
        unlink(path);
        return;
    }
    node = co_open_json("{'driver': 'file', 'filename': '%s'}", path);
    g_assert_true(co_test_user_init(&user, node, BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE,
                                    BLOCK_PERM_CONSISTENT_READ, NULL));
    expect_qemu_io(path, "write 0 512", true);
    co_block_user_free(user.user);
    expect_qemu_io(path, "write 0 512", false);
    co_block_node_unref(node);
    unlink(path);
}

/* --- blkdebug --------------------------------------------------------------------------------- */

typedef struct DebugDisk {
    BlockNode *node;
    TestUser user;
} DebugDisk;

static void co_debug_open(DebugDisk *disk, const char *rules)
{
    disk->node = co_open_json("{'driver': 'blkdebug', 'discard': 'unmap', 'image': {'driver': "
                              "'null-co', 'read-zeroes': true, 'size': 1048576}, %s}",
                              rules);
    co_user(&disk->user, disk->node);
}

static void co_debug_close(DebugDisk *disk)
{
    co_block_user_free(disk->user.user);
    co_block_node_unref(disk->node);
}

static int co_debug_read(DebugDisk *disk, int64_t offset)
{
    char buf[512];

    return co_block_read_buf(disk->user.child, offset, buf, sizeof(buf));
}

static int co_debug_write(DebugDisk *disk, int64_t offset)
{
    static const char buf[512];

    return co_block_write_buf(disk->user.child, offset, buf, sizeof(buf), 0);
}

static void co_blkdebug_types(void *opaque)
{
    BlockStatus status;
    DebugDisk disk;

    co_debug_open(&disk,
                  "'inject-error': [{'event': 'none', 'iotype': 'write', 'errno': 28, "
                  "'sector': 3}, {'event': 'none', 'iotype': 'discard', 'immediately': true}, "
                  "{'event': 'none', 'iotype': 'block-status', 'errno': 12}]");
    g_assert_cmpint(co_debug_write(&disk, 1024), ==, 0);
    g_assert_cmpint(co_debug_write(&disk, 1536), ==, -ENOSPC);
    g_assert_cmpint(co_debug_write(&disk, 1536), ==, -ENOSPC);
    g_assert_cmpint(co_debug_write(&disk, 1100), ==, -ENOSPC);
    g_assert_cmpint(co_debug_read(&disk, 1536), ==, 0);
    g_assert_cmpint(co_block_discard(disk.user.child, 0, 512), ==, -EIO);
    g_assert_cmpint(co_block_status(disk.user.child, true, 0, 512, &status), ==, -ENOMEM);
    co_debug_close(&disk);
}

static void co_blkdebug_once(void *opaque)
{
    DebugDisk disk;

    co_debug_open(&disk, "'inject-error': [{'event': 'none', 'once': true, 'errno': 5}, "
                         "{'event': 'none', 'once': true, 'errno': 28}]");
    g_assert_cmpint(co_debug_read(&disk, 0), ==, -EIO);
    g_assert_cmpint(co_debug_write(&disk, 0), ==, -ENOSPC);
    g_assert_cmpint(co_debug_read(&disk, 0), ==, 0);
    g_assert_cmpint(co_block_flush(disk.user.child), ==, 0);
    co_debug_close(&disk);
}

/* A raw node above raises read_aio and write_aio. */
static void co_blkdebug_states(void *opaque)
{
    BlockNode *raw;
    DebugDisk disk;
    TestUser user;
    char buf[512] = {0};

    disk.node =
        co_open_json("{'driver': 'blkdebug', 'node-name': 'debug', 'image': {'driver': 'null-co', "
                     "'size': 1048576}, "
                     "'set-state': [{'event': 'write_aio', 'state': 1, 'new_state': 2}], "
                     "'inject-error': [{'event': 'read_aio', 'iotype': 'read', 'state': 2}]}");
    raw = co_open_json("{'driver': 'raw', 'file': 'debug'}");
    co_user(&user, raw);
    g_assert_cmpint(co_block_read_buf(user.child, 0, buf, 512), ==, 0);
    g_assert_cmpint(co_block_write_buf(user.child, 0, buf, 512, 0), ==, 0);
    g_assert_cmpint(co_block_read_buf(user.child, 0, buf, 512), ==, -EIO);
    co_block_user_free(user.user);
    co_block_node_unref(raw);
    co_block_node_unref(disk.node);
}

static void co_blkdebug_config(void *opaque)
{
    g_autofree char *path = make_image(0);
    g_autofree char *rules = g_strdup_printf("'config': '%s'", path);
    DebugDisk disk;

    g_assert_true(
        g_file_set_contents(path,
                            "# rules\n[inject-error]\nevent = \"none\"\niotype = \"read\"\n"
                            "errno = \"28\"\nonce = \"on\"\n",
                            -1, NULL));
    co_debug_open(&disk, rules);
    g_assert_cmpint(co_debug_write(&disk, 0), ==, 0);
    g_assert_cmpint(co_debug_read(&disk, 0), ==, -ENOSPC);
    g_assert_cmpint(co_debug_read(&disk, 0), ==, 0);
    co_debug_close(&disk);
    unlink(path);
    co_expect_refused("{'driver': 'blkdebug', 'config': '/nonexistent', "
                      "'image': {'driver': 'null-co'}}",
                      "Could not read blkdebug config file: No such file or directory");
    co_expect_refused("{'driver': 'blkdebug', 'align': 1000, 'image': {'driver': 'null-co'}}",
                      "Cannot meet constraints with align 1000");
}

/* --- null-co ---------------------------------------------------------------------------------- */

static void co_null(void *opaque)
{
    BlockNode *node = co_open_json("{'driver': 'null-co', 'size': 1000, 'latency-ns': 1000000}");
    TestUser user;
    char buf[512];
    int64_t start = loop_now_ns();

    co_user(&user, node);
    g_assert_cmpint(node->size, ==, 1024);
    g_assert_cmpint(co_block_read_buf(user.child, 0, buf, 512), ==, 0);
    g_assert_cmpint(loop_now_ns() - start, >=, 1000000);
    co_block_user_free(user.user);
    co_block_node_unref(node);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    block_drivers_register();
    add_control_test("/file/random", co_file_random);
    add_control_test("/file/direct", co_file_direct);
    add_control_test("/file/holes", co_file_holes);
    add_control_test("/file/size", co_file_size);
    add_control_test("/file/errors", co_file_errors);
    add_control_test("/raw/window", co_raw_window);
    add_control_test("/raw/errors", co_raw_errors);
    add_control_test("/locks/nodes", co_locks_between_nodes);
    add_control_test("/locks/qemu", co_locks_against_qemu);
    add_control_test("/blkdebug/types", co_blkdebug_types);
    add_control_test("/blkdebug/once", co_blkdebug_once);
    add_control_test("/blkdebug/states", co_blkdebug_states);
    add_control_test("/blkdebug/config", co_blkdebug_config);
    add_control_test("/null/size", co_null);
    return g_test_run();
}
