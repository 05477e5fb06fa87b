/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* blockdev-reopen: single cases that a review asked about; most were defects. */
#include <string.h>

#include "tests/unit/disk-model.h"
#include "tests/unit/reopen-util.h"

#define KIB 1024

static BlockNode *co_open_file(const char *name)
{
    return co_open_json("{'driver': 'file', 'node-name': '%s', 'filename': '%s/%s'}", name, folder,
                        name);
}

static void co_write_once(BlockNode *node, int64_t offset)
{
    g_autofree char *buf = g_malloc(64 * KIB);
    TestUser user;

    g_assert_true(co_test_user_init(&user, node, BLOCK_PERM_WRITE, BLOCK_PERM_ALL, NULL));
    memset(buf, 7, 64 * KIB);
    g_assert_cmpint(co_block_write_buf(user.child, offset, buf, 64 * KIB, 0), ==, 0);
    co_block_user_free(user.user);
}

/* --- the order of the list does not matter ------------------------------------------------ */

/* An image writes to its file when it becomes read-only, and when it becomes writable. */
static void co_child_first(void *opaque)
{
    BlockNode *file, *top;
    DirtyBitmap *bitmap;

    run("qemu-img create -q -f qcow2 -o lazy_refcounts=on %s/top 1M", folder);
    file = co_open_file("top");
    top = co_open_json("{'driver': 'qcow2', 'node-name': 'image', 'file': 'top'}");
    bitmap = block_node_bitmap_add(top, "b", 64 * KIB, NULL);
    dirty_bitmap_set_persistent(bitmap, true);
    co_write_once(top, 0);
    co_reopen("[{'driver': 'file', 'node-name': 'top', 'filename': '%s/top', 'read-only': true}, "
              "{'driver': 'qcow2', 'node-name': 'image', 'file': 'top', 'read-only': true}]",
              folder);
    run("qemu-img check -q -U %s/top", folder);
    co_reopen("[{'driver': 'file', 'node-name': 'top', 'filename': '%s/top'}, "
              "{'driver': 'qcow2', 'node-name': 'image', 'file': 'top'}]", folder);
    co_write_once(top, 128 * KIB);
    g_assert_cmpint(dirty_bitmap_count(bitmap), ==, 128 * KIB);
    co_block_node_unref(top);
    co_block_node_unref(file);
    run("qemu-img check -q %s/top && ! qemu-img info %s/top | grep -q in-use", folder, folder);
}

/* --- a failure to write out --------------------------------------------------------------- */

#define FLUSH_FAILS                                                                                \
    "'file': {'driver': 'blkdebug', 'inject-error': [{'event': 'none', 'iotype': 'flush', "        \
    "'errno': 5, 'once': true}], 'image': {'driver': 'file', 'filename': '%s/top'}}"
#define READ_ONLY                                                                                  \
    "[{'driver': 'qcow2', 'node-name': 'image', 'read-only': true, " FLUSH_FAILS "}]"

static void co_flush_fails(void *opaque)
{
    BlockNode *top;

    run("qemu-img create -q -f qcow2 %s/top 1M", folder);
    top = co_open_json("{'driver': 'qcow2', 'node-name': 'image', " FLUSH_FAILS "}", folder);
    co_write_once(top, 0);
    co_reopen_refused("Error flushing drive*", READ_ONLY, folder);
    co_write_once(top, 64 * KIB);
    co_reopen(READ_ONLY, folder);
    run("qemu-img check -q -U %s/top", folder);
    co_block_node_unref(top);
}

/* --- what belongs to the old file goes there ---------------------------------------------- */

static void co_other_file(void *opaque)
{
    BlockNode *file, *other, *top;

    run("qemu-img create -q -f qcow2 -o lazy_refcounts=on %s/top 1M && truncate -s 1M %s/other "
        "%s/zeroes", folder, folder, folder);
    file = co_open_file("top");
    other = co_open_file("other");
    top = co_open_json("{'driver': 'qcow2', 'node-name': 'image', 'file': 'top'}");
    co_write_once(top, 0);
    co_reopen("[{'driver': 'qcow2', 'node-name': 'image', 'file': 'other'}]");
    co_reopen("[{'driver': 'qcow2', 'node-name': 'image', 'file': 'top'}]");
    run("cmp %s/other %s/zeroes && qemu-img check -q -U %s/top", folder, folder, folder);
    co_block_node_unref(top);
    co_block_node_unref(other);
    co_block_node_unref(file);
}

/* --- loops -------------------------------------------------------------------------------- */

typedef struct Pair {
    BlockNode *raw[2], *null[2], *shared;
    TestUser users[2];
    Loop *loops[2];
} Pair;

/* Two disks, on a loop each; the second one is pinned by its user. */
static void co_pair_open(Pair *pair)
{
    pair->shared = co_open_json("{'driver': 'null-co', 'node-name': 'shared'}");
    for (int i = 0; i < 2; i++) {
        pair->loops[i] = start_loop();
        pair->null[i] = co_open_json("{'driver': 'null-co', 'node-name': 'null%d'}", i);
        pair->raw[i] = co_open_json("{'driver': 'raw', 'node-name': 'raw%d', 'file': 'null%d'}", i,
                                    i);
        g_assert_true(co_test_user_init(&pair->users[i], pair->raw[i], BLOCK_PERM_CONSISTENT_READ,
                                        BLOCK_PERM_ALL, NULL));
        g_assert_true(co_block_graph_move(pair->raw[i], pair->loops[i], NULL));
    }
    pair->users[1].user->pinned = true;
}

static void co_pair_close(Pair *pair)
{
    for (int i = 0; i < 2; i++) {
        co_block_user_free(pair->users[i].user);
        co_block_node_unref(pair->raw[i]);
        co_block_node_unref(pair->null[i]);
    }
    co_block_node_unref(pair->shared);
    for (int i = 0; i < 2; i++) {
        loop_free(pair->loops[i]);
    }
}

#define RAW(i) "{'driver': 'raw', 'node-name': 'raw" #i "', 'file': 'shared'}"

/* The shared node comes to the first disk, and goes on to the second one, which cannot come. */
static void co_pinned(void *opaque)
{
    Pair pair;

    co_pair_open(&pair);
    co_reopen("[" RAW(0) ", " RAW(1) "]");
    g_assert_true(pair.shared->loop == pair.loops[1]);
    g_assert_true(pair.raw[0]->loop == pair.loops[1]);
    g_assert_true(pair.null[0]->loop == control_loop());
    co_pair_close(&pair);
}

static void co_both_pinned(void *opaque)
{
    Pair pair;

    co_pair_open(&pair);
    pair.users[0].user->pinned = true;
    co_reopen_refused("*different iothreads*", "[" RAW(0) ", " RAW(1) "]");
    co_pair_close(&pair);
}

/* --- depth -------------------------------------------------------------------------------- */

#define STOREYS 150

/* Nodes @name0 … on each other; the highest one. */
static BlockNode *co_tower(const char *name)
{
    BlockNode *top = co_open_json("{'driver': 'null-co', 'node-name': '%s0'}", name);

    for (int i = 1; i < STOREYS; i++) {
        BlockNode *node = co_open_json("{'driver': 'raw', 'node-name': '%s%d', 'file': '%s%d'}",
                                       name, i, name, i - 1);

        co_block_node_unref(top); /* the one above has its own */
        top = node;
    }
    return top;
}

static void co_towers(void *opaque)
{
    BlockNode *a = co_tower("a"), *b = co_tower("b");

    co_reopen_refused("With node 'b149' below node 'a99' there would be more than 200 nodes*",
                      "[{'driver': 'raw', 'node-name': 'a99', 'file': 'b149'}]");
    co_reopen_refused("With node 'a149' below node 'b1' there would be more than 200 nodes*",
                      "[{'driver': 'raw', 'node-name': 'b1', 'file': 'a149'}]");
    co_block_node_unref(a);
    co_block_node_unref(b);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    block_drivers_register();
    make_folder();
    add_control_test("/reopen-cases/child-first", co_child_first);
    add_control_test("/reopen-cases/flush-fails", co_flush_fails);
    add_control_test("/reopen-cases/other-file", co_other_file);
    add_control_test("/reopen-cases/pinned", co_pinned);
    add_control_test("/reopen-cases/both-pinned", co_both_pinned);
    add_control_test("/reopen-cases/towers", co_towers);
    ret = g_test_run();
    remove_folder();
    return ret;
}
