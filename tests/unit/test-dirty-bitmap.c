/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* DirtyBitmap: random operations against a naive model of one byte a granule, states and errors,
 * and hashes that the real qemu-storage-daemon 10.0.2 gave for the same patterns. */
#include "bitmap/dirty-bitmap.h"

#include <string.h>

#define KIB ((int64_t)1 << 10)
#define MIB ((int64_t)1 << 20)
#define GIB ((int64_t)1 << 30)
#define TIB ((int64_t)1 << 40)

static uint32_t seed;

/* --- The model --- */

typedef struct Model {
    GRand *rand;
    DirtyBitmap *bm;
    int64_t size;
    int64_t granularity;
    GByteArray *bits;      /* of the bitmap */
    GByteArray *successor; /* NULL: none */
    bool enabled;          /* the one that records */
} Model;

static GByteArray *zeroes(int64_t n)
{
    GByteArray *bits = g_byte_array_new();

    g_byte_array_set_size(bits, n);
    if (n) {
        memset(bits->data, 0, n);
    }
    return bits;
}

static int64_t granules(int64_t size, int64_t granularity)
{
    return (size + granularity - 1) / granularity;
}

static void model_init(Model *m, GRand *rand, int64_t size, int64_t granularity)
{
    *m = (Model){
        .rand = rand,
        .bm = dirty_bitmap_new("bm", size, granularity),
        .size = size,
        .granularity = granularity,
        .bits = zeroes(granules(size, granularity)),
        .enabled = true,
    };
}

static void model_clear(Model *m)
{
    dirty_bitmap_free(m->bm);
    g_byte_array_unref(m->bits);
    g_clear_pointer(&m->successor, g_byte_array_unref);
}

static void model_touch(const Model *m, GByteArray *bits, int64_t offset, int64_t bytes)
{
    for (int64_t i = 0; i < bits->len; i++) {
        if (bytes > 0 && i * m->granularity < offset + bytes && (i + 1) * m->granularity > offset) {
            bits->data[i] = 1;
        }
    }
}

static bool model_dirty(const Model *m, int64_t offset)
{
    return m->bits->data[offset / m->granularity];
}

/* The first offset in [offset, end) whose state is @dirty, by going over granules; end if none. */
static int64_t model_next(const Model *m, int64_t offset, int64_t end, bool dirty)
{
    end = MIN(end, m->size);
    while (offset < end && model_dirty(m, offset) != dirty) {
        offset = (offset / m->granularity + 1) * m->granularity;
    }
    return MIN(offset, end);
}

static void check_same(const Model *m)
{
    int64_t count = 0;

    for (unsigned i = 0; i < m->bits->len; i++) {
        g_assert_cmpint(dirty_bitmap_get(m->bm, i * m->granularity), ==, m->bits->data[i]);
        count += m->bits->data[i];
    }
    g_assert_false(dirty_bitmap_get(m->bm, m->size));
    g_assert_cmpint(dirty_bitmap_count(m->bm), ==, count * m->granularity);
    g_assert_cmpint(dirty_bitmap_size(m->bm), ==, m->size);
    g_assert_cmpuint(sparse_bitmap_size(dirty_bitmap_bits(m->bm)), ==, m->bits->len);
    g_assert_cmpint(dirty_bitmap_recording(m->bm), ==, m->enabled);
    g_assert_cmpint(dirty_bitmap_enabled(m->bm), ==, m->enabled && !m->successor);
    g_assert_cmpint(dirty_bitmap_busy(m->bm), ==, m->successor != NULL);
}

/* A range on the disk, its ends often on or beside a border of granules. */
static void random_range(const Model *m, int64_t *offset, int64_t *bytes)
{
    int64_t ends[2];

    for (int i = 0; i < 2; i++) {
        int64_t e = g_rand_double_range(m->rand, 0, m->size + 1);

        if (g_rand_boolean(m->rand)) {
            e = e / m->granularity * m->granularity + g_rand_int_range(m->rand, -1, 2);
        }
        ends[i] = CLAMP(e, 0, m->size);
    }
    if (g_rand_int_range(m->rand, 0, 5) == 0) {
        ends[1] = m->size;
    }
    *offset = MIN(ends[0], ends[1]);
    *bytes = MAX(ends[0], ends[1]) - *offset;
}

/* --- Random operations --- */

static void step_mark(Model *m)
{
    int64_t offset, bytes;

    random_range(m, &offset, &bytes);
    bytes += g_rand_int_range(m->rand, 0, 10) ? 0 : m->granularity * 3; /* past the end */
    dirty_bitmap_mark(m->bm, offset, bytes);
    if (m->enabled) {
        model_touch(m, m->successor ? m->successor : m->bits, offset, bytes);
    }
}

static void step_set(Model *m)
{
    int64_t offset, bytes;

    random_range(m, &offset, &bytes);
    dirty_bitmap_set(m->bm, offset, bytes);
    model_touch(m, m->bits, offset, bytes);
}

static void step_reset(Model *m)
{
    int64_t offset, bytes;

    random_range(m, &offset, &bytes);
    dirty_bitmap_reset(m->bm, offset, bytes);
    for (int64_t i = 0; i < m->bits->len; i++) {
        int64_t end = MIN((i + 1) * m->granularity, m->size);

        if (i * m->granularity >= offset && end <= offset + bytes) {
            m->bits->data[i] = 0;
        }
    }
}

static void step_next(Model *m)
{
    int64_t offset, bytes, end, at = -1, length = -1, max, first, clean;

    random_range(m, &offset, &bytes);
    end = offset + bytes + (g_rand_int_range(m->rand, 0, 10) ? 0 : m->granularity);
    first = model_next(m, offset, end, true);
    g_assert_cmpint(dirty_bitmap_next_dirty(m->bm, offset, end, &at), ==,
                    first < MIN(end, m->size));
    g_assert_cmpint(at, ==, first < MIN(end, m->size) ? first : -1);

    clean = model_next(m, offset, end, false);
    at = -1;
    g_assert_cmpint(dirty_bitmap_next_clean(m->bm, offset, end, &at), ==,
                    clean < MIN(end, m->size));
    g_assert_cmpint(at, ==, clean < MIN(end, m->size) ? clean : -1);

    max = g_rand_boolean(m->rand) ? INT64_MAX : g_rand_int_range(m->rand, 1, 1 << 20);
    if (dirty_bitmap_next_area(m->bm, offset, end, max, &at, &length)) {
        g_assert_cmpint(at, ==, first);
        clean = model_next(m, first, end, false);
        g_assert_cmpint(length, ==, MIN(max, clean - first));
    } else {
        g_assert_cmpint(first, >=, MIN(end, m->size));
    }
}

typedef struct AreaCheck {
    const Model *m;
    int64_t pos, end;
} AreaCheck;

static bool check_area(void *opaque, int64_t start, int64_t bytes)
{
    AreaCheck *c = opaque;

    g_assert_cmpint(start, ==, model_next(c->m, c->pos, c->end, true));
    c->pos = start + bytes;
    g_assert_cmpint(c->pos, ==, model_next(c->m, start, c->end, false));
    return true;
}

static void step_each_area(Model *m)
{
    AreaCheck c = {.m = m};
    int64_t bytes;

    random_range(m, &c.pos, &bytes);
    c.end = c.pos + bytes;
    dirty_bitmap_each_area(m->bm, c.pos, c.end, check_area, &c);
    g_assert_cmpint(model_next(m, c.pos, c.end, true), ==, c.end);
}

/* A model of the same disk with some other granularity and random content. */
static void random_other(const Model *m, Model *other)
{
    int64_t granularity = 512ll << g_rand_int_range(m->rand, 0, 14);

    model_init(other, m->rand, m->size, MAX(granularity, m->granularity / 64));
    for (int i = g_rand_int_range(m->rand, 0, 10); i > 0; i--) {
        step_set(other);
    }
}

static void step_merge(Model *m)
{
    bool undo = g_rand_boolean(m->rand);
    g_autoptr(GError) error = NULL;
    SparseBitmap *backup = NULL;
    Model other;

    random_other(m, &other);
    if (m->successor) {
        g_assert_false(dirty_bitmap_merge(m->bm, other.bm, &backup, &error));
        g_assert_null(backup);
        model_clear(&other);
        return;
    }
    g_assert_true(dirty_bitmap_merge(m->bm, other.bm, undo ? &backup : NULL, &error));
    for (unsigned i = 0; i < other.bits->len && !undo; i++) {
        if (other.bits->data[i]) {
            int64_t offset = i * other.granularity;

            model_touch(m, m->bits, offset, MIN(other.granularity, m->size - offset));
        }
    }
    if (undo) {
        dirty_bitmap_restore(m->bm, backup);
    }
    check_same(&other);
    model_clear(&other);
}

static void step_clear_all(Model *m)
{
    SparseBitmap *undo = NULL;

    switch (g_rand_int_range(m->rand, 0, 3)) {
    case 0:
        dirty_bitmap_clear_all(m->bm, NULL);
        break;
    case 1:
        dirty_bitmap_clear_all(m->bm, &undo);
        g_assert_cmpint(dirty_bitmap_count(m->bm), ==, 0);
        dirty_bitmap_restore(m->bm, undo);
        return;
    default:
        dirty_bitmap_clear_all(m->bm, &undo);
        sparse_bitmap_free(undo);
    }
    if (m->bits->len) {
        memset(m->bits->data, 0, m->bits->len);
    }
}

static void step_enable(Model *m)
{
    if (m->successor) {
        return;
    }
    m->enabled = g_rand_int_range(m->rand, 0, 4);
    if (m->enabled) {
        dirty_bitmap_enable(m->bm);
    } else {
        dirty_bitmap_disable(m->bm);
    }
}

static void step_successor(Model *m)
{
    g_autoptr(GError) error = NULL;
    GByteArray *successor = m->successor;

    if (!successor) {
        g_assert_true(dirty_bitmap_create_successor(m->bm, &error));
        m->successor = zeroes(m->bits->len);
        return;
    }
    g_assert_false(dirty_bitmap_create_successor(m->bm, &error));
    m->successor = NULL;
    if (g_rand_boolean(m->rand)) {
        dirty_bitmap_reclaim(m->bm);
        for (unsigned i = 0; i < m->bits->len; i++) {
            m->bits->data[i] |= successor->data[i];
        }
        g_byte_array_unref(successor);
    } else {
        dirty_bitmap_abdicate(m->bm);
        g_byte_array_unref(m->bits);
        m->bits = successor;
    }
}

static void model_resize(GByteArray *bits, int64_t n)
{
    int64_t old = bits->len;

    g_byte_array_set_size(bits, n);
    if (n > old) {
        memset(bits->data + old, 0, n - old);
    }
}

static void step_truncate(Model *m)
{
    m->size = g_rand_double_range(m->rand, 0, m->granularity * 200);
    dirty_bitmap_truncate(m->bm, m->size);
    model_resize(m->bits, granules(m->size, m->granularity));
    if (m->successor) {
        model_resize(m->successor, granules(m->size, m->granularity));
    }
}

static void step(Model *m)
{
    int what = g_rand_int_range(m->rand, 0, 100);

    if (what < 35) {
        step_mark(m);
    } else if (what < 45) {
        step_set(m);
    } else if (what < 60) {
        step_reset(m);
    } else if (what < 80) {
        step_next(m);
        step_each_area(m);
    } else if (what < 86) {
        step_merge(m);
    } else if (what < 88) {
        step_clear_all(m);
    } else if (what < 91) {
        step_enable(m);
    } else if (what < 98) {
        step_successor(m);
    } else {
        step_truncate(m);
    }
}

static void test_random(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    Model m;

    for (int round = 0; round < 60; round++) {
        int64_t granularity = 512ll << g_rand_int_range(rand, 0, 23);

        model_init(&m, rand, g_rand_double_range(rand, 0, granularity * 150), granularity);
        for (int i = 0; i < 300; i++) {
            step(&m);
            check_same(&m);
        }
        model_clear(&m);
    }
}

/* --- States --- */

static void expect_check(const DirtyBitmap *bm, unsigned flags, const char *message)
{
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(dirty_bitmap_check(bm, flags, &error), ==, message == NULL);
    g_assert_cmpstr(error ? error->message : NULL, ==, message);
}

static void test_check(void)
{
    g_autoptr(DirtyBitmap) bm = dirty_bitmap_new("b0", MIB, 64 * KIB);

    expect_check(bm, DIRTY_BITMAP_DEFAULT, NULL);
    dirty_bitmap_set_busy(bm, true);
    expect_check(bm, DIRTY_BITMAP_DEFAULT,
                 "Bitmap 'b0' is currently in use by another operation and cannot be used");
    expect_check(bm, DIRTY_BITMAP_RO | DIRTY_BITMAP_INCONSISTENT, NULL);
    dirty_bitmap_set_busy(bm, false);

    dirty_bitmap_set_readonly(bm, true);
    expect_check(bm, DIRTY_BITMAP_DEFAULT, "Bitmap 'b0' is readonly and cannot be modified");
    expect_check(bm, DIRTY_BITMAP_ALLOW_RO, NULL);
    dirty_bitmap_set_readonly(bm, false);

    dirty_bitmap_set_persistent(bm, true);
    dirty_bitmap_set_inconsistent(bm);
    expect_check(bm, DIRTY_BITMAP_ALLOW_RO, "Bitmap 'b0' is inconsistent and cannot be used");
    expect_check(bm, DIRTY_BITMAP_BUSY | DIRTY_BITMAP_RO, NULL);
    g_assert_false(dirty_bitmap_enabled(bm));
}

static void test_merge_errors(void)
{
    g_autoptr(DirtyBitmap) a = dirty_bitmap_new("a", 1000448, 64 * KIB);
    g_autoptr(DirtyBitmap) b = dirty_bitmap_new("b", MIB, 64 * KIB);
    g_autoptr(GError) error = NULL;
    SparseBitmap *backup = NULL;

    g_assert_false(dirty_bitmap_merge(a, b, &backup, &error));
    g_assert_null(backup);
    g_assert_cmpstr(error->message, ==,
                    "Bitmaps are of different sizes (destination size is "
                    "1000448, source size is 1048576) and can't be merged");
}

static void test_merge_itself(void)
{
    g_autoptr(DirtyBitmap) a = dirty_bitmap_new("a", MIB, 64 * KIB);
    SparseBitmap *backup = NULL;

    dirty_bitmap_mark(a, 5, 1);
    g_assert_true(dirty_bitmap_merge(a, a, &backup, NULL));
    g_assert_cmpint(dirty_bitmap_count(a), ==, 64 * KIB);
    dirty_bitmap_restore(a, backup);
    g_assert_cmpint(dirty_bitmap_count(a), ==, 64 * KIB);
}

/* A disabled bitmap's successor records only when it is told to; and stays enabled afterwards. */
static void test_enable_successor(void)
{
    g_autoptr(DirtyBitmap) bm = dirty_bitmap_new(NULL, MIB, 64 * KIB);

    dirty_bitmap_disable(bm);
    g_assert_true(dirty_bitmap_create_successor(bm, NULL));
    dirty_bitmap_mark(bm, 0, 1);
    g_assert_false(dirty_bitmap_recording(bm));
    dirty_bitmap_enable_successor(bm);
    g_assert_true(dirty_bitmap_recording(bm));
    dirty_bitmap_mark(bm, 64 * KIB, 1);
    dirty_bitmap_reclaim(bm);
    g_assert_true(dirty_bitmap_enabled(bm));
    g_assert_false(dirty_bitmap_get(bm, 0));
    g_assert_true(dirty_bitmap_get(bm, 64 * KIB));
}

/* The largest disk at the smallest granularity, and the largest granularity. */
static void test_limits(void)
{
    g_autoptr(DirtyBitmap) fine = dirty_bitmap_new("fine", INT64_MAX, 512);
    g_autoptr(DirtyBitmap) coarse = dirty_bitmap_new("coarse", INT64_MAX, 1u << 31);
    int64_t start, bytes;

    dirty_bitmap_set(fine, 0, INT64_MAX);
    g_assert_cmpint(dirty_bitmap_count(fine), ==, INT64_MAX);
    g_assert_true(dirty_bitmap_next_area(fine, 1, INT64_MAX, INT64_MAX, &start, &bytes));
    g_assert_cmpint(start, ==, 1);
    g_assert_cmpint(bytes, ==, INT64_MAX - 1);
    dirty_bitmap_mark(coarse, INT64_MAX - 1, INT64_MAX);
    dirty_bitmap_clear_all(fine, NULL);
    g_assert_true(dirty_bitmap_merge(fine, coarse, NULL, NULL));
    g_assert_cmpint(dirty_bitmap_count(fine), ==, 1ll << 31);
    g_assert_true(dirty_bitmap_merge(coarse, fine, NULL, NULL));
    dirty_bitmap_reset(fine, INT64_MAX - 5, 5);
    g_assert_cmpint(dirty_bitmap_count(fine), ==, 1ll << 31);
    dirty_bitmap_reset(fine, INT64_MAX - 511, 511);
    g_assert_cmpint(dirty_bitmap_count(fine), ==, (1ll << 31) - 512);
}

/* --- Hashes given by qemu-storage-daemon 10.0.2 --- */

static void expect_hash(const DirtyBitmap *bm, const char *expect)
{
    g_autofree char *hash = dirty_bitmap_sha256(bm);

    g_assert_cmpstr(hash, ==, expect);
}

static void test_hash_cut(void)
{
    g_autoptr(DirtyBitmap) bm = dirty_bitmap_new("b", 1000448, 64 * KIB);

    expect_hash(bm, "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc");
    dirty_bitmap_truncate(bm, 3000320);
    expect_hash(bm, "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc");
    dirty_bitmap_mark(bm, 2999808, 512);
    dirty_bitmap_mark(bm, 65000, 1000);
    g_assert_cmpint(dirty_bitmap_count(bm), ==, 196608);
    expect_hash(bm, "3e8c765da4160d15534ed000468338f494d0a1a155b4064fb4e551f91356463c");
    dirty_bitmap_truncate(bm, 66048);
    g_assert_cmpint(dirty_bitmap_count(bm), ==, 131072);
    expect_hash(bm, "35be322d094f9d154a8aba4733b8497f180353bd7ae7b0a15f90b586b549f28b");
    dirty_bitmap_truncate(bm, 3000320);
    g_assert_cmpint(dirty_bitmap_count(bm), ==, 131072);
    expect_hash(bm, "35be322d094f9d154a8aba4733b8497f180353bd7ae7b0a15f90b586b549f28b");
}

static void test_hash_words(void)
{
    g_autoptr(DirtyBitmap) bm = dirty_bitmap_new("b", 10 * MIB + 512, 64 * KIB);

    dirty_bitmap_mark(bm, 65535, 2);
    dirty_bitmap_mark(bm, 10 * MIB, 512);
    expect_hash(bm, "e85c0b6936e9275386d88e54b04718574fcbf997b749ecb289a57b61a1a2d388");
}

static void test_hash_sparse(void)
{
    g_autoptr(DirtyBitmap) bm = dirty_bitmap_new("b", 16 * TIB, 64 * KIB);

    dirty_bitmap_mark(bm, 0, 512);
    dirty_bitmap_mark(bm, 5 * TIB + 4096, MIB);
    dirty_bitmap_mark(bm, 16 * TIB - 512, 512);
    dirty_bitmap_mark(bm, 3 * TIB, GIB);
    g_assert_cmpint(dirty_bitmap_count(bm), ==, 1074987008);
    expect_hash(bm, "67951d9d7a20ed23a91fe6e4f3bd01a17839cf68a776ad703fc94c3ebb968093");
}

static void test_hash_full(void)
{
    g_autoptr(DirtyBitmap) bm = dirty_bitmap_new("b", 64 * GIB + 512, 512);

    dirty_bitmap_mark(bm, 0, 64 * GIB + 512);
    expect_hash(bm, "e9760bdbbeef1b8c481d98861693cb71a2cda4c0ee9256e1485b8fbcd7241477");
}

static void test_speed(void)
{
    const int n = 1000000;
    g_autoptr(DirtyBitmap) bm = dirty_bitmap_new("b", TIB, 64 * KIB);
    int64_t start = g_get_monotonic_time();

    for (int i = 0; i < n; i++) {
        dirty_bitmap_mark(bm, i * 7919ll % (TIB / 4096) * 4096, 4096);
    }
    g_test_message("mark 4 KiB of 1 TiB: %.1f ns", (g_get_monotonic_time() - start) * 1000.0 / n);
}

int main(int argc, char **argv)
{
    const char *given = g_getenv("TIDEMARK_SEED");

    g_test_init(&argc, &argv, NULL);
    seed = given ? strtoul(given, NULL, 0) : g_random_int();
    g_test_message("TIDEMARK_SEED=%u", seed);
    g_test_add_func("/dirty-bitmap/random", test_random);
    g_test_add_func("/dirty-bitmap/check", test_check);
    g_test_add_func("/dirty-bitmap/merge-errors", test_merge_errors);
    g_test_add_func("/dirty-bitmap/merge-itself", test_merge_itself);
    g_test_add_func("/dirty-bitmap/enable-successor", test_enable_successor);
    g_test_add_func("/dirty-bitmap/limits", test_limits);
    g_test_add_func("/dirty-bitmap/hash-cut", test_hash_cut);
    g_test_add_func("/dirty-bitmap/hash-words", test_hash_words);
    g_test_add_func("/dirty-bitmap/hash-sparse", test_hash_sparse);
    g_test_add_func("/dirty-bitmap/hash-full", test_hash_full);
    g_test_add_func("/dirty-bitmap/speed", test_speed);
    return g_test_run();
}
