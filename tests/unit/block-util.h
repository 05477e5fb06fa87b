/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests of the block layer: a loop 0 with drivers, nodes from JSON, a user that is drained. */
#ifndef TESTS_UNIT_BLOCK_UTIL_H
#define TESTS_UNIT_BLOCK_UTIL_H

#include <unistd.h>

#include "block/control.h"
#include "block/driver.h"
#include "block/graph.h"
#include "block/node-io.h"
#include "block/user.h"
#include "tests/unit/loop-util.h"

/* Opens a node as blockdev-add would; single quotes in @format stand for double ones. */
static inline BlockNode *co_open_json(const char *format, ...) G_GNUC_PRINTF(1, 2);
static inline BlockNode *co_open_json(const char *format, ...)
{
    va_list ap;
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(BlockdevOptions) options = NULL;
    json_t *json;
    BlockNode *node;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    g_strdelimit(text, "'", '"');
    json = json_loads(text, 0, NULL);
    g_assert_nonnull(json);
    options = BlockdevOptions_parse(json, NULL, &error);
    g_assert_no_error(error);
    node = co_block_node_open(options, &error);
    g_assert_no_error(error);
    json_decref(json);
    return node;
}

/* A file of @size zero bytes under a name of its own; the caller unlinks and frees. */
static inline char *make_image(int64_t size)
{
    char *path = g_strdup("/tmp/tidemark-test-XXXXXX");
    int fd = g_mkstemp(path);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    close(fd);
    return path;
}

/* A user that counts its requests in flight, and starts none while it is drained. */
typedef struct TestUser {
    BlockUser *user;
    BlockChild *child;
    bool quiesced;
    unsigned in_flight;
    void (*resume)(void *opaque); /* NULL, or what starts requests again; must not yield */
    void *opaque;
} TestUser;

static inline void test_user_drained_begin(void *opaque)
{
    ((TestUser *)opaque)->quiesced = true;
}

static inline bool test_user_drained_poll(void *opaque)
{
    return ((TestUser *)opaque)->in_flight > 0;
}

static inline void test_user_drained_end(void *opaque)
{
    TestUser *user = opaque;

    user->quiesced = false;
    if (user->resume) {
        user->resume(user->opaque);
    }
}

static inline char *test_user_describe(void *opaque)
{
    return g_strdup("a test");
}

static const BlockUserOps test_user_ops = {
    .drained_begin = test_user_drained_begin,
    .drained_poll = test_user_drained_poll,
    .drained_end = test_user_drained_end,
    .describe = test_user_describe,
};

static inline bool co_test_user_init(TestUser *user, BlockNode *node, unsigned perm,
                                     unsigned shared, GError **errp)
{
    *user = (TestUser){ 0 };
    user->user = block_user_new(&test_user_ops, user);
    user->child = co_block_user_attach(user->user, node, "root", BLOCK_ROLE_DATA, perm, shared,
                                       errp);
    if (!user->child) {
        co_block_user_free(user->user);
    }
    return user->child != NULL;
}

/* Brackets of a request. */
static inline void test_user_begin(TestUser *user)
{
    g_assert_false(user->quiesced);
    user->in_flight++;
}

static inline void test_user_end(TestUser *user)
{
    user->in_flight--;
    block_user_drain_progress(user->user);
}

/* A test's body as loop 0's coroutine; asserts that it leaves no node behind. */
static inline void co_test_body(void *opaque)
{
    CoFn *fn = (CoFn *)opaque;

    control_init(loop_current());
    fn(NULL);
    g_assert_cmpint(block_nodes()->len, ==, 0);
}

#endif
