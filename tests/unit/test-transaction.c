/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Transactions of bitmap actions: random ones, against a model that does the same on plain arrays.
 * Either all of a transaction is seen, or nothing of it.
 */
#include <string.h>

#include "block/node-bitmaps.h"
#include "qmp-schema/qmp-commands.h"
#include "tests/unit/block-util.h"

#define GRANULE 65536
#define GRANULES 16
#define NODES 2
#define NAMES 4
#define ROUNDS 3000

static GRand *test_rand; /* made by main() from TIDEMARK_SEED */

static int range(int below)
{
    return g_rand_int_range(test_rand, 0, below);
}

static const char *const node_names[NODES] = {"n0", "n1"};
static const char *const names[NAMES] = {"a", "b", "c", "d"};

/* --- the model --- */

typedef struct ModelBitmap {
    bool exists, enabled, leaving; /* leaving: removed earlier in this transaction */
    bool dirty[GRANULES];
} ModelBitmap;

typedef struct Model {
    ModelBitmap bitmaps[NODES][NAMES];
} Model;

typedef struct Pick {
    int node, name;
} Pick;

static Pick pick(void)
{
    return (Pick){.node = range(NODES), .name = range(NAMES)};
}

static ModelBitmap *usable(Model *model, Pick p)
{
    ModelBitmap *bitmap = &model->bitmaps[p.node][p.name];

    return bitmap->exists && !bitmap->leaving ? bitmap : NULL;
}

static bool model_add(Model *model, Pick p, bool disabled)
{
    ModelBitmap *bitmap = &model->bitmaps[p.node][p.name];

    if (bitmap->exists) {
        return false;
    }
    *bitmap = (ModelBitmap){.exists = true, .enabled = !disabled};
    return true;
}

static bool model_merge(Model *model, Pick target, Pick source)
{
    ModelBitmap *to = usable(model, target), *from = usable(model, source);

    for (int i = 0; to && from && i < GRANULES; i++) {
        to->dirty[i] |= from->dirty[i];
    }
    return to && from;
}

static void model_settle(Model *model)
{
    for (int n = 0; n < NODES; n++) {
        for (int b = 0; b < NAMES; b++) {
            if (model->bitmaps[n][b].leaving) {
                model->bitmaps[n][b] = (ModelBitmap){0};
            }
        }
    }
}

/* --- the same by QMP --- */

static json_t *action(const char *type, json_t *data)
{
    return json_pack("{s:s, s:o}", "type", type, "data", data);
}

static json_t *bitmap_data(Pick p)
{
    return json_pack("{s:s, s:s}", "node", node_names[p.node], "name", names[p.name]);
}

/* Adds one action to @actions and does it to the model; false when it must fail. */
static bool random_action(Model *model, json_t *actions)
{
    Pick p = pick(), q = pick();
    ModelBitmap *bitmap = usable(model, p);
    bool flag = range(2);

    switch (range(7)) {
    case 0:
        json_array_append_new(actions,
                              action("block-dirty-bitmap-add",
                                     json_pack("{s:s, s:s, s:b}", "node", node_names[p.node],
                                               "name", names[p.name], "disabled", (int)flag)));
        return model_add(model, p, flag);
    case 1:
        json_array_append_new(actions, action("block-dirty-bitmap-remove", bitmap_data(p)));
        return bitmap && (bitmap->leaving = true);
    case 2:
        json_array_append_new(actions, action("block-dirty-bitmap-clear", bitmap_data(p)));
        return bitmap && memset(bitmap->dirty, 0, sizeof(bitmap->dirty));
    case 3:
        json_array_append_new(actions, action("block-dirty-bitmap-enable", bitmap_data(p)));
        return bitmap && (bitmap->enabled = true);
    case 4:
        json_array_append_new(actions, action("block-dirty-bitmap-disable", bitmap_data(p)));
        return bitmap && !(bitmap->enabled = false);
    case 5:
        json_array_append_new(
            actions, action("block-dirty-bitmap-merge",
                            json_pack("{s:s, s:s, s:[o]}", "node", node_names[p.node], "target",
                                      names[p.name], "bitmaps", bitmap_data(q))));
        return model_merge(model, p, q);
    default:
        if (range(10) == 0) {
            json_array_append_new(actions, action("abort", json_object()));
            return false;
        }
        return true;
    }
}

/* --- comparing --- */

static void check_bitmap(const ModelBitmap *model, const DirtyBitmap *bitmap)
{
    g_assert_cmpint(model->exists, ==, bitmap != NULL);
    if (!bitmap) {
        return;
    }
    g_assert_cmpint(model->enabled, ==, dirty_bitmap_enabled(bitmap));
    g_assert_false(dirty_bitmap_busy(bitmap));
    for (int i = 0; i < GRANULES; i++) {
        g_assert_cmpint(model->dirty[i], ==, dirty_bitmap_get(bitmap, (int64_t)i * GRANULE));
    }
}

static void check_all(const Model *model)
{
    for (int n = 0; n < NODES; n++) {
        for (int b = 0; b < NAMES; b++) {
            check_bitmap(&model->bitmaps[n][b],
                         block_node_bitmap_find(block_node_find(node_names[n]), names[b]));
        }
    }
}

/* As a guest's write would: only what records is marked. */
static void mark(Model *model)
{
    int n = range(NODES), granule = range(GRANULES);

    for (int b = 0; b < NAMES; b++) {
        DirtyBitmap *bitmap = block_node_bitmap_find(block_node_find(node_names[n]), names[b]);

        if (bitmap) {
            dirty_bitmap_mark(bitmap, (int64_t)granule * GRANULE, 1);
        }
        model->bitmaps[n][b].dirty[granule] |= model->bitmaps[n][b].enabled;
    }
}

static void co_round(Model *model)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(TransactionArgs) args = NULL;
    Model next = *model;
    json_t *json = json_pack("{s:[]}", "actions");
    bool good = true;

    for (int i = range(6); i-- > 0 && good;) {
        good = random_action(&next, json_object_get(json, "actions"));
    }
    args = TransactionArgs_parse(json, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(qmp_transaction(args, &error), ==, good);
    g_assert_cmpint(error == NULL, ==, good);
    if (good) {
        model_settle(&next);
        *model = next;
    }
    json_decref(json);
}

static void co_open_disks(void)
{
    co_control_lock();
    for (int i = 0; i < NODES; i++) {
        co_open_json("{'driver': 'null-co', 'node-name': '%s', 'size': %d}", node_names[i],
                     GRANULE * GRANULES);
    }
    control_unlock();
}

static void co_close_disks(void)
{
    co_control_lock();
    for (int i = 0; i < NODES; i++) {
        co_block_node_unref(block_node_find(node_names[i]));
    }
    control_unlock();
}

static void co_random(void *opaque)
{
    Model model = {0};

    control_init(loop_current());
    co_open_disks();
    for (int round = 0; round < ROUNDS; round++) {
        co_round(&model);
        mark(&model);
        check_all(&model);
    }
    co_close_disks();
}

static void test_random(void)
{
    run_in_co(co_random, NULL);
}

/* --- merging: an error in the middle leaves the target as it was --- */

static bool co_merge(const char *format)
{
    g_autofree char *text = g_strdup(format);
    g_autoptr(BlockDirtyBitmapMerge) args = NULL;
    json_t *json = json_loads(g_strdelimit(text, "'", '"'), 0, NULL);

    args = BlockDirtyBitmapMerge_parse(json, NULL, NULL);
    json_decref(json);
    return qmp_block_dirty_bitmap_merge(args, NULL);
}

static void co_add(const char *node, const char *name)
{
    BlockDirtyBitmapAdd args = {.node = (char *)node, .name = (char *)name};

    g_assert_true(qmp_block_dirty_bitmap_add(&args, NULL));
}

static void co_merge_undone(void *opaque)
{
    const DirtyBitmap *target;

    control_init(loop_current());
    co_open_disks();
    co_add("n0", "a");
    co_add("n0", "b");
    co_add("n1", "c");
    target = block_node_bitmap_find(block_node_find("n0"), "a");
    dirty_bitmap_set(block_node_bitmap_find(block_node_find("n0"), "b"), 0, 1);
    dirty_bitmap_set(block_node_bitmap_find(block_node_find("n1"), "c"), GRANULE, 1);
    g_assert_false(co_merge("{'node':'n0','target':'a','bitmaps':['b','nope']}"));
    g_assert_false(co_merge("{'node':'n0','target':'a','bitmaps':['b',{'node':'n1','name':'a'}]}"));
    g_assert_cmpint(dirty_bitmap_count(target), ==, 0);
    g_assert_true(co_merge("{'node':'n0','target':'a','bitmaps':[]}"));
    g_assert_cmpint(dirty_bitmap_count(target), ==, 0);
    g_assert_true(
        co_merge("{'node':'n0','target':'a','bitmaps':['a','b',{'node':'n1','name':'c'}]}"));
    g_assert_cmpint(dirty_bitmap_count(target), ==, 2 * GRANULE);
    co_close_disks();
}

static void test_merge_undone(void)
{
    run_in_co(co_merge_undone, NULL);
}

int main(int argc, char **argv)
{
    const char *seed_text = g_getenv("TIDEMARK_SEED");
    guint32 seed = seed_text ? (guint32)g_ascii_strtoull(seed_text, NULL, 10) : g_random_int();
    int ret;

    g_test_init(&argc, &argv, NULL);
    g_test_message("TIDEMARK_SEED=%u", seed);
    test_rand = g_rand_new_with_seed(seed);
    block_drivers_register();
    g_test_add_func("/transaction/random", test_random);
    g_test_add_func("/transaction/merge-undone", test_merge_undone);
    ret = g_test_run();
    g_rand_free(test_rand);
    return ret;
}
