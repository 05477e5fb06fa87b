/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SparseBitmap against a naive model of one byte a bit, by random operations; and its costs. */
#include "bitmap/sparse-bitmap.h"

#include <string.h>

#define CHUNK_BITS (64u * SPARSE_LEAF_BITS) /* below one node of the lowest level */

/* --- A provider that knows which leaves have a page --- */

typedef struct CountingPages {
    GHashTable *live; /* leaf index -> page */
    uint64_t gets;
} CountingPages;

static uint64_t *counting_get(void *opaque, uint64_t leaf_index)
{
    CountingPages *pages = opaque;
    uint64_t *page = g_malloc(SPARSE_PAGE_SIZE);

    memset(page, 0xa5, SPARSE_PAGE_SIZE); /* the content of a new page is undefined */
    g_assert_true(g_hash_table_insert(pages->live, GSIZE_TO_POINTER(leaf_index), page));
    pages->gets++;
    return page;
}

static void counting_put(void *opaque, uint64_t leaf_index, uint64_t *page)
{
    CountingPages *pages = opaque;

    g_assert_true(g_hash_table_lookup(pages->live, GSIZE_TO_POINTER(leaf_index)) == page);
    g_hash_table_remove(pages->live, GSIZE_TO_POINTER(leaf_index));
    g_free(page);
}

static const PageProvider counting_provider = {
    .get = counting_get,
    .put = counting_put,
};

/* --- The model --- */

typedef struct Fixture {
    GRand *rand;
    CountingPages pages;
    SparseBitmap *b;
    GByteArray *model;
} Fixture;

static uint32_t seed;

static void fixture_init(Fixture *f, uint64_t nbits)
{
    f->rand = g_rand_new_with_seed(seed);
    f->pages.live = g_hash_table_new(NULL, NULL);
    f->pages.gets = 0;
    f->b = sparse_bitmap_new_with_pages(nbits, &counting_provider, &f->pages);
    f->model = g_byte_array_new();
    g_byte_array_set_size(f->model, nbits);
    if (nbits) {
        memset(f->model->data, 0, nbits);
    }
}

static void fixture_clear(Fixture *f)
{
    sparse_bitmap_free(f->b);
    g_assert_cmpuint(g_hash_table_size(f->pages.live), ==, 0);
    g_hash_table_unref(f->pages.live);
    g_byte_array_unref(f->model);
    g_rand_free(f->rand);
}

static uint64_t below(GRand *rand, uint64_t end)
{
    uint64_t r = (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand);

    return end ? r % end : 0;
}

/* A position in [0, nbits], often on or beside a border of words, leaves or nodes. */
static uint64_t random_pos(GRand *rand, uint64_t nbits)
{
    static const uint64_t borders[] = {64, 64, SPARSE_LEAF_BITS, SPARSE_LEAF_BITS, CHUNK_BITS};
    uint64_t pos = below(rand, nbits + 1);

    if (g_rand_boolean(rand)) {
        uint64_t border = borders[g_rand_int_range(rand, 0, G_N_ELEMENTS(borders))];

        pos = pos / border * border + g_rand_int_range(rand, 0, 3);
        pos -= pos ? 1 : 0;
    }
    return MIN(pos, nbits);
}

static void random_range(GRand *rand, uint64_t nbits, uint64_t *start, uint64_t *count)
{
    uint64_t a = random_pos(rand, nbits), b = random_pos(rand, nbits);

    switch (g_rand_int_range(rand, 0, 8)) {
    case 0: /* anything */
        break;
    case 1:
        a = a / SPARSE_LEAF_BITS * SPARSE_LEAF_BITS;
        b = a + SPARSE_LEAF_BITS * g_rand_int_range(rand, 0, 4);
        break;
    case 2:
    case 3:
        b = a + g_rand_int_range(rand, 0, 3000);
        break;
    default:
        b = a + g_rand_int_range(rand, 0, 70);
    }
    b = MIN(b, nbits);
    *start = MIN(a, b);
    *count = MAX(a, b) - *start;
}

static uint64_t model_fill(GByteArray *model, uint64_t start, uint64_t count, bool value)
{
    uint64_t changed = 0;

    for (uint64_t i = start; i < start + count; i++) {
        changed += model->data[i] != value;
        model->data[i] = value;
    }
    return changed;
}

static uint64_t model_count(const GByteArray *model, uint64_t start, uint64_t count)
{
    uint64_t n = 0;

    for (uint64_t i = start; i < start + count; i++) {
        n += model->data[i];
    }
    return n;
}

static uint64_t model_next(const GByteArray *model, uint64_t start, uint64_t end, bool value)
{
    const uint8_t *found;

    end = MIN(end, model->len);
    if (start >= end) {
        return end;
    }
    found = memchr(model->data + start, value, end - start);
    return found ? (uint64_t)(found - model->data) : end;
}

static unsigned model_mixed_leaves(const GByteArray *model)
{
    unsigned n = 0;

    for (uint64_t base = 0; base < model->len; base += SPARSE_LEAF_BITS) {
        uint64_t len = MIN(model->len - base, SPARSE_LEAF_BITS);
        uint64_t count = model_count(model, base, len);

        n += count > 0 && count < len;
    }
    return n;
}

/* Every bit, by runs; and the total. */
static void check_bits(const SparseBitmap *b, const GByteArray *model)
{
    uint64_t pos = 0, start, count;

    g_assert_cmpuint(sparse_bitmap_size(b), ==, model->len);
    g_assert_cmpuint(sparse_bitmap_count(b), ==, model_count(model, 0, model->len));
    while (sparse_bitmap_next_run(b, pos, UINT64_MAX, &start, &count)) {
        g_assert_cmpuint(start, ==, model_next(model, pos, UINT64_MAX, true));
        pos = start + count;
        g_assert_cmpuint(pos, ==, model_next(model, start, UINT64_MAX, false));
    }
    g_assert_cmpuint(model_next(model, pos, UINT64_MAX, true), ==, model->len);
}

/* Bits, and that just the leaves that need one have a page. */
static void check_all(const Fixture *f)
{
    check_bits(f->b, f->model);
    g_assert_cmpuint(g_hash_table_size(f->pages.live), ==, model_mixed_leaves(f->model));
    g_assert_cmpuint(sparse_bitmap_memory(f->b), >=,
                     g_hash_table_size(f->pages.live) * SPARSE_PAGE_SIZE);
}

/* --- Random operations --- */

static void step_fill(Fixture *f)
{
    bool value = g_rand_boolean(f->rand);
    uint64_t start, count, expect;

    random_range(f->rand, f->model->len, &start, &count);
    expect = model_fill(f->model, start, count, value);
    if (value) {
        g_assert_cmpuint(sparse_bitmap_set(f->b, start, count), ==, expect);
    } else {
        g_assert_cmpuint(sparse_bitmap_clear(f->b, start, count), ==, expect);
    }
}

static void check_next(const Fixture *f, uint64_t start, uint64_t end, bool value)
{
    uint64_t expect = model_next(f->model, start, end, value), bit = 12345;
    bool found = value ? sparse_bitmap_next_set(f->b, start, end, &bit)
                       : sparse_bitmap_next_clear(f->b, start, end, &bit);

    g_assert_cmpint(found, ==, start < end && expect < MIN(end, f->model->len));
    g_assert_cmpuint(bit, ==, found ? expect : 12345);
}

typedef struct RunCheck {
    const SparseBitmap *b;
    uint64_t pos, end;
    unsigned left; /* runs that are wanted */
} RunCheck;

static bool check_run(void *opaque, uint64_t start, uint64_t count)
{
    RunCheck *c = opaque;
    uint64_t run_start, run_count;

    g_assert_cmpuint(c->left, >, 0);
    g_assert_true(sparse_bitmap_next_run(c->b, c->pos, c->end, &run_start, &run_count));
    g_assert_cmpuint(start, ==, run_start);
    g_assert_cmpuint(count, ==, run_count);
    c->pos = start + count;
    return --c->left > 0;
}

/* The same runs as one search after the other finds, up to as many as are wanted. */
static void check_each_run(const Fixture *f, uint64_t start, uint64_t end, unsigned wanted)
{
    RunCheck c = {.b = f->b, .pos = start, .end = end, .left = wanted};
    uint64_t bit;

    sparse_bitmap_each_run(f->b, start, end, check_run, &c);
    g_assert_true(c.left == 0 || !sparse_bitmap_next_set(f->b, c.pos, end, &bit));
}

static void step_query(Fixture *f)
{
    uint64_t start, count, run_start, run_count;

    random_range(f->rand, f->model->len, &start, &count);
    g_assert_cmpuint(sparse_bitmap_count_range(f->b, start, count), ==,
                     model_count(f->model, start, count));
    if (start < f->model->len) {
        g_assert_cmpint(sparse_bitmap_get(f->b, start), ==, f->model->data[start]);
    }
    check_next(f, start, start + count, true);
    check_next(f, start, start + count, false);
    check_next(f, start, UINT64_MAX, true);
    check_next(f, start, UINT64_MAX, false);
    check_each_run(f, start, start + count, UINT_MAX);
    check_each_run(f, start, UINT64_MAX, g_rand_int_range(f->rand, 1, 5));
    if (sparse_bitmap_next_run(f->b, start, start + count, &run_start, &run_count)) {
        g_assert_cmpuint(run_start, ==, model_next(f->model, start, start + count, true));
        g_assert_cmpuint(run_start + run_count, ==,
                         model_next(f->model, run_start, start + count, false));
    } else {
        g_assert_cmpuint(model_count(f->model, start, count), ==, 0);
    }
}

/* A bitmap and model of @nbits with some random ranges set. */
static SparseBitmap *random_bitmap(GRand *rand, uint64_t nbits, GByteArray *model)
{
    SparseBitmap *b = sparse_bitmap_new(nbits);

    g_byte_array_set_size(model, nbits);
    if (nbits) {
        memset(model->data, 0, nbits);
    }
    for (int i = g_rand_int_range(rand, 0, 30); i > 0; i--) {
        uint64_t start, count;

        random_range(rand, nbits, &start, &count);
        sparse_bitmap_set(b, start, count);
        model_fill(model, start, count, true);
    }
    return b;
}

static void step_merge(Fixture *f)
{
    g_autoptr(GByteArray) model = g_byte_array_new();
    g_autoptr(SparseBitmap) src = random_bitmap(f->rand, f->model->len, model);
    uint64_t changed = 0;

    for (uint64_t i = 0; i < model->len; i++) {
        changed += model->data[i] & !f->model->data[i];
        f->model->data[i] |= model->data[i];
    }
    g_assert_cmpuint(sparse_bitmap_merge(f->b, src), ==, changed);
    check_bits(src, model);
}

static void step_merge_scaled(Fixture *f)
{
    static const int shifts[] = {-16, -6, -3, -1, 0, 1, 2, 6, 15, 20};
    int shift = shifts[g_rand_int_range(f->rand, 0, G_N_ELEMENTS(shifts))];
    uint64_t nbits = f->model->len, changed = 0;
    uint64_t src_bits =
        shift > 0 ? (nbits + (1ull << shift) - 1) >> shift : MIN(nbits << -shift, 3u * CHUNK_BITS);
    g_autoptr(GByteArray) model = g_byte_array_new();
    g_autoptr(SparseBitmap) src = random_bitmap(f->rand, src_bits, model);

    for (uint64_t i = 0; shift > 0 && i < nbits; i++) {
        changed += model_fill(f->model, i, model->data[i >> shift], true);
    }
    for (uint64_t i = 0; shift <= 0 && i < src_bits; i++) {
        changed += model_fill(f->model, i >> -shift, model->data[i], true);
    }
    g_assert_cmpuint(sparse_bitmap_merge_scaled(f->b, src, shift), ==, changed);
}

static void step_resize(Fixture *f)
{
    uint64_t old = f->model->len;
    uint64_t nbits = random_pos(f->rand, MIN(old + old / 2 + 100, 3u * CHUNK_BITS));

    g_byte_array_set_size(f->model, nbits);
    if (nbits > old) {
        memset(f->model->data + old, 0, nbits - old);
    }
    sparse_bitmap_resize(f->b, nbits);
    check_all(f);
}

static void step_copy(Fixture *f)
{
    g_autoptr(SparseBitmap) copy = sparse_bitmap_copy(f->b);

    check_bits(copy, f->model);
    /* The same pages and nodes, and the pool of a bitmap in memory. */
    g_assert_cmpuint(sparse_bitmap_memory(copy), <=, sparse_bitmap_memory(f->b) + 100);
}

static void step_hash(Fixture *f)
{
    size_t nwords = MAX((f->model->len + 63) / 64, 1);
    g_autofree uint8_t *bytes = g_malloc0(nwords * 8);
    g_autofree char *expect = NULL, *got = sparse_bitmap_sha256(f->b);

    for (uint64_t i = 0; i < f->model->len; i++) {
        bytes[i / 8] |= f->model->data[i] << i % 8; /* little-endian words: bytes in order */
    }
    expect = g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes, nwords * 8);
    g_assert_cmpstr(got, ==, expect);
}

static void step_whole(Fixture *f)
{
    bool value = g_rand_boolean(f->rand);

    model_fill(f->model, 0, f->model->len, value);
    if (value) {
        sparse_bitmap_set_all(f->b);
    } else {
        sparse_bitmap_clear_all(f->b);
    }
    check_all(f);
    g_assert_cmpuint(g_hash_table_size(f->pages.live), ==, 0);
}

static void step(Fixture *f, bool resize)
{
    int what = g_rand_int_range(f->rand, 0, 1000);

    if (what < 600) {
        step_fill(f);
    } else if (what < 950) {
        step_query(f);
    } else if (what < 965) {
        step_merge(f);
    } else if (what < 980) {
        step_merge_scaled(f);
    } else if (what < 984) {
        step_copy(f);
    } else if (what < 988) {
        step_hash(f);
    } else if (what < 990) {
        step_whole(f);
    } else if (resize) {
        step_resize(f);
    }
}

static void run_random(uint64_t nbits, int steps, bool resize)
{
    Fixture f;

    fixture_init(&f, nbits);
    for (int i = 1; i <= steps; i++) {
        step(&f, resize);
        if (i % 50 == 0) {
            check_all(&f);
        }
    }
    check_all(&f);
    fixture_clear(&f);
}

static void test_random(void)
{
    static const uint64_t sizes[] = {
        0,
        1,
        63,
        64,
        65,
        1000,
        SPARSE_LEAF_BITS - 1,
        SPARSE_LEAF_BITS,
        SPARSE_LEAF_BITS + 1,
        2 * SPARSE_LEAF_BITS + 77,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        run_random(sizes[i], 3000, false);
    }
}

static void test_random_large(void)
{
    static const uint64_t sizes[] = {CHUNK_BITS - 1, CHUNK_BITS, CHUNK_BITS + 1,
                                     CHUNK_BITS + 5 * SPARSE_LEAF_BITS + 11};

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        run_random(sizes[i], 300, false);
    }
}

static void test_resize(void)
{
    run_random(1000, 5000, true);
    run_random(CHUNK_BITS - 5, 400, true);
}

/* --- Costs --- */

/* Bytes: an empty or full bitmap; and what a lone bit adds, a page and at most 6 nodes. */
#define BASE 2048
#define PER_BIT (SPARSE_PAGE_SIZE + 6 * 1536)

static void check_cost(uint64_t nbits)
{
    g_autoptr(SparseBitmap) b = sparse_bitmap_new(nbits);
    uint64_t bit, start, count;

    g_assert_cmpuint(sparse_bitmap_memory(b), <, BASE);
    sparse_bitmap_set_all(b);
    g_assert_cmpuint(sparse_bitmap_count(b), ==, nbits);
    g_assert_cmpuint(sparse_bitmap_memory(b), <, BASE);
    g_assert_false(sparse_bitmap_next_clear(b, 0, UINT64_MAX, &bit));
    g_assert_true(sparse_bitmap_next_run(b, 1, UINT64_MAX, &start, &count));
    g_assert_cmpuint(start, ==, 1);
    g_assert_cmpuint(count, ==, nbits - 1);

    for (int i = 0; i < 8; i++) {
        g_assert_cmpuint(sparse_bitmap_clear(b, nbits / 8 * i + 5, 1), ==, 1);
    }
    g_assert_cmpuint(sparse_bitmap_memory(b), <, BASE + 8 * PER_BIT);
    g_assert_true(sparse_bitmap_next_clear(b, 6, UINT64_MAX, &bit));
    g_assert_cmpuint(bit, ==, nbits / 8 + 5);
    g_assert_cmpuint(sparse_bitmap_count_range(b, 0, nbits), ==, nbits - 8);
    for (int i = 0; i < 8; i++) {
        g_assert_cmpuint(sparse_bitmap_set(b, nbits / 8 * i + 5, 1), ==, 1);
    }
    g_assert_cmpuint(sparse_bitmap_memory(b), <, BASE);

    sparse_bitmap_clear_all(b);
    g_assert_cmpuint(sparse_bitmap_set(b, nbits - 1, 1), ==, 1);
    g_assert_cmpuint(sparse_bitmap_set(b, 0, nbits / 2 + 1), ==, nbits / 2 + 1);
    g_assert_cmpuint(sparse_bitmap_memory(b), <, BASE + 2 * PER_BIT);
    g_assert_true(sparse_bitmap_next_set(b, nbits / 2 + 1, UINT64_MAX, &bit));
    g_assert_cmpuint(bit, ==, nbits - 1);
    sparse_bitmap_resize(b, nbits / 2);
    g_assert_cmpuint(sparse_bitmap_count(b), ==, nbits / 2);
    g_assert_cmpuint(sparse_bitmap_memory(b), <, BASE);
}

static void test_cost(void)
{
    check_cost(1ull << 28);
    check_cost(1ull << 32);
    check_cost((1ull << 32) + 12345);
    check_cost(SPARSE_BITMAP_MAX_BITS);
}

/* Thousands of pages come and go; the memory goes with them. */
static void test_pages_in_memory(void)
{
    enum { LEAVES = 3000 };
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_autoptr(SparseBitmap) b = sparse_bitmap_new((uint64_t)LEAVES * SPARSE_LEAF_BITS);
    bool model[LEAVES] = {false};
    uint64_t held = 0, pos = 0, count;

    for (int i = 0; i < 40000; i++) {
        unsigned leaf = g_rand_int_range(rand, 0, LEAVES);
        bool value = g_rand_int_range(rand, 0, 40000) > (i % 20000) * 2; /* rise and fall, twice */
        uint64_t bit = (uint64_t)leaf * SPARSE_LEAF_BITS + leaf;

        g_assert_cmpuint(value ? sparse_bitmap_set(b, bit, 1) : sparse_bitmap_clear(b, bit, 1), ==,
                         model[leaf] != value);
        held += value - model[leaf];
        model[leaf] = value;
        g_assert_cmpuint(sparse_bitmap_memory(b), >=, held * SPARSE_PAGE_SIZE);
    }
    for (unsigned leaf = 0; leaf < LEAVES; leaf++) {
        if (model[leaf]) {
            g_assert_true(sparse_bitmap_next_run(b, pos, UINT64_MAX, &pos, &count));
            g_assert_cmpuint(pos++, ==, (uint64_t)leaf * SPARSE_LEAF_BITS + leaf);
            g_assert_cmpuint(count, ==, 1);
            sparse_bitmap_clear(b, pos - 1, 1);
        }
    }
    g_assert_cmpuint(sparse_bitmap_count(b), ==, 0);
    g_assert_cmpuint(sparse_bitmap_memory(b), <, BASE);
}

/* In a leaf that has a page, setting bits takes no other. */
static void test_set_does_not_allocate(void)
{
    Fixture f;

    fixture_init(&f, CHUNK_BITS);
    sparse_bitmap_set(f.b, 7, 1);
    for (unsigned i = 0; i < SPARSE_LEAF_BITS; i += 2) {
        sparse_bitmap_set(f.b, i, 1);
    }
    g_assert_cmpuint(f.pages.gets, ==, 1);
    fixture_clear(&f);
}

static void test_adopt(void)
{
    Fixture f;
    uint64_t nbits = SPARSE_LEAF_BITS * 70 + 100;
    uint64_t *page;

    fixture_init(&f, nbits);
    for (int i = 0; i < 3; i++) {
        page = counting_get(&f.pages, 30 + i);
        memset(page, i == 0 ? 0 : 0xff, SPARSE_PAGE_SIZE);
        if (i == 2) {
            page[0] &= ~(uint64_t)1;
        }
        sparse_bitmap_adopt_leaf(f.b, 30 + i, page);
    }
    page = counting_get(&f.pages, 70);
    memset(page, 0, SPARSE_PAGE_SIZE);
    page[1] = 1;
    sparse_bitmap_adopt_leaf(f.b, 70, page);

    model_fill(f.model, SPARSE_LEAF_BITS * 31, 2 * SPARSE_LEAF_BITS, true);
    f.model->data[SPARSE_LEAF_BITS * 32] = 0;
    f.model->data[SPARSE_LEAF_BITS * 70 + 64] = 1;
    check_all(&f);
    fixture_clear(&f);
}

/* --- Speed, printed for whoever reads the log --- */

static double ns_since(int64_t start_us, double n)
{
    return (g_get_monotonic_time() - start_us) * 1000.0 / n;
}

static SparseBitmap *scattered(GRand *rand, uint64_t nbits, unsigned n)
{
    SparseBitmap *b = sparse_bitmap_new(nbits);

    for (unsigned i = 0; i < n; i++) {
        sparse_bitmap_set(b, below(rand, nbits), 1);
    }
    return b;
}

static void time_merge(GRand *rand, unsigned n)
{
    SparseBitmap *src[4];
    g_autoptr(SparseBitmap) dst = sparse_bitmap_new(1u << 28);
    int64_t start;

    for (int i = 0; i < 4; i++) {
        src[i] = scattered(rand, 1u << 28, n);
    }
    start = g_get_monotonic_time();
    for (int i = 0; i < 4; i++) {
        sparse_bitmap_merge(dst, src[i]);
    }
    g_test_message("merge of four 2^28-bit bitmaps with %u scattered bits each: %.2f ms", n,
                   ns_since(start, 1e6));
    for (int i = 0; i < 4; i++) {
        sparse_bitmap_free(src[i]);
    }
}

static void test_speed(void)
{
    const unsigned n = 1000000;
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_autoptr(SparseBitmap) b = sparse_bitmap_new(1u << 24); /* 1 TiB at 64 KiB */
    g_autofree uint32_t *where = g_new(uint32_t, n);
    uint64_t pos = 0, count, runs = 0;
    int64_t start;

    for (unsigned i = 0; i < n; i++) {
        where[i] = g_rand_int(rand) & ((1u << 24) - 1);
    }
    for (int pass = 0; pass < 2; pass++) {
        start = g_get_monotonic_time();
        for (unsigned i = 0; i < n; i++) {
            sparse_bitmap_set(b, where[i], 1);
        }
        g_test_message("set one bit, random, pass %d: %.1f ns", pass, ns_since(start, n));
    }
    start = g_get_monotonic_time();
    while (sparse_bitmap_next_run(b, pos, UINT64_MAX, &pos, &count)) {
        pos += count;
        runs++;
    }
    g_test_message("next run: %.1f ns", ns_since(start, runs));
    time_merge(rand, 1000);
    time_merge(rand, 100000);
    time_merge(rand, 4000000);
}

int main(int argc, char **argv)
{
    const char *given = g_getenv("TIDEMARK_SEED");

    g_test_init(&argc, &argv, NULL);
    seed = given ? strtoul(given, NULL, 0) : g_random_int();
    g_test_message("TIDEMARK_SEED=%u", seed);
    g_test_add_func("/sparse-bitmap/random", test_random);
    g_test_add_func("/sparse-bitmap/random-large", test_random_large);
    g_test_add_func("/sparse-bitmap/resize", test_resize);
    g_test_add_func("/sparse-bitmap/cost", test_cost);
    g_test_add_func("/sparse-bitmap/set-does-not-allocate", test_set_does_not_allocate);
    g_test_add_func("/sparse-bitmap/pages-in-memory", test_pages_in_memory);
    g_test_add_func("/sparse-bitmap/adopt", test_adopt);
    g_test_add_func("/sparse-bitmap/speed", test_speed);
    return g_test_run();
}
