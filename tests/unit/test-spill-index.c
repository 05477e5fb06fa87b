/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The index of the spill file against a hash table of glib's, and what it takes in memory.
 *
 * TIDEMARK_SEED repeats a run.
 */
#include <stdlib.h>

#include "block/copy/spill-index.h"

#define SLOTS 60000
/* Blocks are anywhere on a disk of this many, and often close together. */
#define BLOCKS (UINT64_C(1) << 50)
#define STEPS 400000

static GRand *rand_source;

static uint64_t any_block(void)
{
    uint64_t block = g_rand_int(rand_source);

    block = block << 32 | g_rand_int(rand_source);
    return block % (g_rand_boolean(rand_source) ? 2 * SLOTS : BLOCKS);
}

/* The slot after the last when a new one is wanted, as the spill takes them; else a free one. */
typedef struct Slots {
    int64_t *free;
    unsigned n_free;
    int64_t next;
} Slots;

static int64_t take_slot(Slots *slots)
{
    return slots->n_free && g_rand_boolean(rand_source) ? slots->free[--slots->n_free]
                                                        : slots->next++;
}

static void check_block(const SpillIndex *x, GHashTable *model, uint64_t block)
{
    int64_t slot = (int64_t)GPOINTER_TO_SIZE(g_hash_table_lookup(model,
                                                                 GSIZE_TO_POINTER(block))) - 1;

    g_assert_cmpint(spill_index_slot(x, block), ==, slot);
    if (slot >= 0) {
        g_assert_true(spill_index_holds(x, slot, block));
        g_assert_false(spill_index_holds(x, slot, block + 1));
    }
}

static void test_model(void)
{
    SpillIndex *x = spill_index_new();
    GHashTable *model = g_hash_table_new(NULL, NULL);
    Slots slots = { .free = g_new(int64_t, SLOTS) };
    GHashTableIter iter;
    gpointer key;

    for (unsigned i = 0; i < STEPS; i++) {
        uint64_t block = any_block();
        int64_t slot;

        check_block(x, model, any_block());
        slot = spill_index_remove(x, block);
        if (g_hash_table_remove(model, GSIZE_TO_POINTER(block))) {
            g_assert_false(spill_index_holds(x, slot, block));
            slots.free[slots.n_free++] = slot;
        } else if (slots.next < SLOTS || slots.n_free) {
            g_assert_cmpint(slot, ==, -1);
            slot = slots.next < SLOTS ? take_slot(&slots) : slots.free[--slots.n_free];
            spill_index_add(x, block, slot);
            g_hash_table_insert(model, GSIZE_TO_POINTER(block), GSIZE_TO_POINTER(slot + 1));
        }
    }
    g_hash_table_iter_init(&iter, model);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        check_block(x, model, GPOINTER_TO_SIZE(key));
        spill_index_remove(x, GPOINTER_TO_SIZE(key));
        g_assert_cmpint(spill_index_slot(x, GPOINTER_TO_SIZE(key)), ==, -1);
    }
    g_hash_table_destroy(model);
    spill_index_free(x);
    g_free(slots.free);
}

/* I7: so many bytes a slot, wherever the blocks are; and no insertion takes much at once. */
static void test_memory(void)
{
    SpillIndex *x = spill_index_new();
    size_t before = spill_index_memory(x), empty = before, now;

    for (int64_t slot = 0; slot < 300000; slot++) {
        uint64_t block = any_block();

        if (spill_index_slot(x, block) >= 0) {
            block = BLOCKS + slot;
        }
        spill_index_add(x, block, slot);
        now = spill_index_memory(x);
        g_assert_cmpuint(now - before, <=, 20000);
        g_assert_cmpuint(now, <=, empty + 16 * (slot + 1) + slot / 32 + 20000);
        before = now;
    }
    spill_index_free(x);
}

int main(int argc, char **argv)
{
    const char *given = g_getenv("TIDEMARK_SEED");
    uint32_t seed = given ? strtoul(given, NULL, 0) : g_random_int();
    int ret;

    g_test_init(&argc, &argv, NULL);
    rand_source = g_rand_new_with_seed(seed);
    g_test_message("TIDEMARK_SEED=%u", seed);
    g_test_add_func("/spill-index/model", test_model);
    g_test_add_func("/spill-index/memory", test_memory);
    ret = g_test_run();
    g_rand_free(rand_source);
    return ret;
}
