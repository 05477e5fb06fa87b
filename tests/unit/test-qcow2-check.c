/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Check and repair of qcow2 images that were broken on purpose, beside qemu-img (where that is
 * installed): the same counts, never a crash, and after a repair nothing is left to mend.
 *
 * Most breakage is random: a few bytes in the header, a table or a block.  The seed is printed;
 * TIDEMARK_SEED sets it, TIDEMARK_ROUNDS how many images.
 */
#include <endian.h>
#include <glib/gstdio.h>
#include <string.h>

#include "tests/unit/block-util.h"

#define ROUNDS 60

/* --- images ----------------------------------------------------------------------------------- */

typedef struct Image {
    char *path;
    uint8_t *bytes;
    gsize len;
} Image;

static bool have_tools(void)
{
    g_autofree char *img = g_find_program_in_path("qemu-img");
    g_autofree char *io = g_find_program_in_path("qemu-io");

    if (!img || !io) {
        g_test_skip("qemu-img and qemu-io are needed");
    }
    return img && io;
}

static char *run(int *status, const char *format, ...) G_GNUC_PRINTF(2, 3);
static char *run(int *status, const char *format, ...)
{
    g_autofree char *command = NULL;
    char *out = NULL;
    int code;
    va_list ap;

    va_start(ap, format);
    command = g_strdup_vprintf(format, ap);
    va_end(ap);
    g_assert_true(g_spawn_command_line_sync(command, &out, NULL, &code, NULL));
    if (status) {
        *status = code;
    } else {
        g_assert_cmpint(code, ==, 0);
    }
    return out;
}

static void must_run(const char *format, ...) G_GNUC_PRINTF(1, 2);
static void must_run(const char *format, ...)
{
    g_autofree char *command = NULL;
    va_list ap;

    va_start(ap, format);
    command = g_strdup_vprintf(format, ap);
    va_end(ap);
    g_free(run(NULL, "%s", command));
}

/* An image with data, zeroes, holes, and (some kinds) compressed clusters, snapshots, a bitmap. */
#define ONE_BIT 2 /* refcounts that cannot say 2 */
static const char *const kinds[] = {
    "-o compat=1.1,cluster_size=512",
    "-o compat=0.10,cluster_size=4096",
    "-o compat=1.1,cluster_size=65536,refcount_bits=1",
    "-o compat=1.1,cluster_size=16384,extended_l2=on",
    "-o compat=1.1,cluster_size=2048,refcount_bits=64",
    "-o compat=1.1,cluster_size=4096,refcount_bits=8,compression_type=zstd",
};

static Image image_new(unsigned kind, bool snapshot)
{
    Image image = { .path = make_image(0) };

    must_run("qemu-img create -q -f qcow2 %s %s 4M", kinds[kind], image.path);
    must_run("qemu-io -f qcow2 -c 'write -q -P 1 0 300k' -c 'write -q -P 2 1M 100k' "
             "-c 'write -q -z 1500k 64k' -c 'write -q -c -P 3 2M 64k' -c 'discard -q 100k 20k' %s",
             image.path);
    if (snapshot) {
        must_run("qemu-img snapshot -c one %s", image.path);
        must_run("qemu-io -f qcow2 -c 'write -q -P 4 100k 90k' %s", image.path);
    }
    return image;
}

static void image_load(Image *image)
{
    g_assert_true(g_file_get_contents(image->path, (char **)&image->bytes, &image->len, NULL));
}

static void image_save(const Image *image)
{
    g_assert_true(g_file_set_contents(image->path, (char *)image->bytes, image->len, NULL));
}

static void image_free(Image *image)
{
    g_unlink(image->path);
    g_free(image->path);
    g_free(image->bytes);
}

static uint64_t be64_at(const Image *image, uint64_t at)
{
    uint64_t value = 0;

    if (at + 8 <= image->len) {
        memcpy(&value, image->bytes + at, 8);
    }
    return be64toh(value);
}

static void put_be64_at(Image *image, uint64_t at, uint64_t value)
{
    value = htobe64(value);
    if (at + 8 <= image->len) {
        memcpy(image->bytes + at, &value, 8);
    }
}

static uint64_t l1_offset(const Image *image)
{
    return be64_at(image, 40);
}

static uint64_t reftable_offset(const Image *image)
{
    return be64_at(image, 48);
}

static uint64_t first_l2(const Image *image)
{
    return be64_at(image, l1_offset(image)) & UINT64_C(0x00fffffffffffe00);
}

static bool is_extended(const Image *image)
{
    return be64_at(image, 72) & 16 && image->bytes[7] == 3;
}

static uint64_t cluster_size(const Image *image)
{
    return UINT64_C(1) << MIN(image->bytes[23], 21); /* which may be damaged itself */
}

/* --- checks ----------------------------------------------------------------------------------- */

typedef struct Counts {
    bool done; /* the image opened, and could be checked */
    XBlockdevCheckResult result;
} Counts;

static int64_t member(const json_t *json, const char *name)
{
    return json_integer_value(json_object_get(json, name));
}

/* What qemu-img says. */
static Counts their_check(const Image *image, const char *repair)
{
    int status;
    g_autofree char *text = run(&status, "qemu-img check -f qcow2 --output=json %s %s", repair,
                                image->path);
    json_t *json = json_loads(text, 0, NULL);
    Counts counts = { .done = json != NULL };
    XBlockdevCheckResult *r = &counts.result;

    r->check_errors = member(json, "check-errors");
    r->corruptions = member(json, "corruptions");
    r->leaks = member(json, "leaks");
    r->corruptions_fixed = member(json, "corruptions-fixed");
    r->leaks_fixed = member(json, "leaks-fixed");
    r->image_end_offset = member(json, "image-end-offset");
    r->total_clusters = member(json, "total-clusters");
    r->allocated_clusters = member(json, "allocated-clusters");
    r->fragmented_clusters = member(json, "fragmented-clusters");
    r->compressed_clusters = member(json, "compressed-clusters");
    json_decref(json);
    return counts;
}

static BlockNode *co_try_open(const Image *image, bool writable)
{
    g_autofree char *text = g_strdup_printf(
        "{\"driver\": \"qcow2\", \"node-name\": \"q\", \"read-only\": %s, \"backing\": null, "
        "\"file\": {\"driver\": \"file\", \"filename\": \"%s\"}}",
        writable ? "false" : "true", image->path);
    json_t *json = json_loads(text, 0, NULL);
    g_autoptr(BlockdevOptions) options = BlockdevOptions_parse(json, NULL, NULL);
    BlockNode *node = co_block_node_open(options, NULL);

    json_decref(json);
    return node;
}

typedef struct OurCheck {
    const Image *image;
    unsigned fix;
    Counts counts;
} OurCheck;

static void co_our_check(void *opaque)
{
    OurCheck *check = opaque;
    BlockNode *node;

    control_init(loop_current());
    block_drivers_register();
    co_control_lock();
    node = co_try_open(check->image, check->fix != 0);
    if (node) {
        TestUser user;

        g_assert_true(co_test_user_init(&user, node, check->fix ? BLOCK_PERM_ALL
                                                                : BLOCK_PERM_CONSISTENT_READ,
                                        0, NULL));
        check->counts.done = node->driver->image->co_check(node, check->fix, &check->counts.result,
                                                           NULL, NULL) == 0;
        co_block_user_free(user.user);
        co_block_node_unref(node);
    }
    control_unlock();
}

static Counts our_check(const Image *image, unsigned fix)
{
    OurCheck check = { .image = image, .fix = fix };

    run_in_co(co_our_check, &check);
    return check.counts;
}

#define SAME(name) g_assert_cmpint(ours->name, ==, theirs->name)

static void assert_same(const XBlockdevCheckResult *ours, const XBlockdevCheckResult *theirs)
{
    SAME(check_errors);
    SAME(corruptions);
    SAME(leaks);
    SAME(total_clusters);
    SAME(allocated_clusters);
    SAME(fragmented_clusters);
    SAME(compressed_clusters);
    SAME(image_end_offset);
}

/* Ours and qemu-img's, on an image that both can check. */
static XBlockdevCheckResult compare(const Image *image)
{
    Counts ours = our_check(image, 0), theirs = their_check(image, "");

    g_assert_true(ours.done);
    g_assert_true(theirs.done);
    assert_same(&ours.result, &theirs.result);
    return ours.result;
}

static bool is_clean(const XBlockdevCheckResult *r)
{
    return !r->check_errors && !r->corruptions && !r->leaks;
}

/* Repairs; all that was found is counted as mended, and qemu-img finds nothing more. */
static void repair(const Image *image, const XBlockdevCheckResult *before)
{
    Counts ours = our_check(image, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS), theirs;

    g_assert_true(ours.done);
    g_assert_true(is_clean(&ours.result));
    g_assert_cmpint(ours.result.corruptions_fixed, >=, before->corruptions ? 1 : 0);
    theirs = their_check(image, "");
    g_assert_true(theirs.done);
    g_assert_true(is_clean(&theirs.result));
}

/* --- known damage ----------------------------------------------------------------------------- */

static void test_sound(void)
{
    for (unsigned i = 0; have_tools() && i < G_N_ELEMENTS(kinds); i++) {
        Image image = image_new(i, i != 2);
        XBlockdevCheckResult r = compare(&image);

        g_assert_true(is_clean(&r));
        repair(&image, &r);
        image_free(&image);
    }
}

typedef void Breaker(Image *image);

/* The first refcount block loses some counts. */
static void drop_refcounts(Image *image)
{
    put_be64_at(image, be64_at(image, reftable_offset(image)), 0);
}

static void drop_refcount_table(Image *image)
{
    put_be64_at(image, reftable_offset(image), 0);
}

static void share_cluster(Image *image)
{
    uint64_t l2 = first_l2(image);

    put_be64_at(image, l2, be64_at(image, l2 + (is_extended(image) ? 16 : 8)));
}

static void loop_l2_to_itself(Image *image)
{
    uint64_t l2 = first_l2(image);

    put_be64_at(image, l2, l2 | UINT64_C(1) << 63);
}

static void clear_copied(Image *image)
{
    uint64_t l2 = first_l2(image);

    put_be64_at(image, l2, be64_at(image, l2) & ~(UINT64_C(1) << 63));
    put_be64_at(image, l1_offset(image), first_l2(image));
}

static void lose_l2(Image *image)
{
    put_be64_at(image, l1_offset(image), 0);
}

static void refblock_twice(Image *image)
{
    put_be64_at(image, reftable_offset(image) + 8, be64_at(image, reftable_offset(image)));
}

static void refblock_outside(Image *image)
{
    put_be64_at(image, reftable_offset(image) + 8, (image->len / cluster_size(image) + 4) *
                                                       cluster_size(image));
}

static void entry_far_outside(Image *image)
{
    put_be64_at(image, first_l2(image), UINT64_C(0x8000ff0000000000));
}

typedef struct Damage {
    const char *name;
    Breaker *fn;
    bool mendable; /* all of it, by whoever repairs */
} Damage;

static const Damage damages[] = {
    { "refcounts", drop_refcounts, true },
    { "no-refcount-table", drop_refcount_table, true },
    { "overlap", share_cluster, true },
    { "loop", loop_l2_to_itself, false },
    { "copied", clear_copied, true },
    { "leaks", lose_l2, true },
    { "refblock-twice", refblock_twice, true },
    { "refblock-outside", refblock_outside, true },
    { "outside", entry_far_outside, false },
};

static void test_damage(gconstpointer opaque)
{
    const Damage *damage = opaque;

    for (unsigned i = 0; have_tools() && i < G_N_ELEMENTS(kinds); i++) {
        Image image = image_new(i, false);
        XBlockdevCheckResult r;

        image_load(&image);
        damage->fn(&image);
        image_save(&image);
        r = compare(&image);
        g_assert_false(is_clean(&r));
        if (damage->mendable && !(damage->fn == share_cluster && i == ONE_BIT)) {
            repair(&image, &r);
        }
        image_free(&image);
    }
}

/* --- more than one range ---------------------------------------------------------------------- */

/*
 * A cluster that is moved far behind the end, where no refcounts are: the second range of counts.
 */
static void test_far(void)
{
    const uint64_t far = UINT64_C(9) << 30; /* of clusters of 512 bytes: number 18 million */
    XBlockdevCheckResult r;
    Image image;

    if (!have_tools()) {
        return;
    }
    image = image_new(0, true);
    image_load(&image);
    put_be64_at(&image, first_l2(&image), far | UINT64_C(1) << 63);
    image_save(&image);
    g_assert_cmpint(truncate(image.path, far + 512), ==, 0);
    r = compare(&image);
    g_assert_cmpint(r.corruptions, >, 0);
    g_assert_cmpint(r.leaks, >, 0);
    g_assert_cmpint(r.image_end_offset, ==, far + 512);
    repair(&image, &r);
    image_free(&image);
}

/* --- random damage ---------------------------------------------------------------------------- */

static uint64_t pick_place(const Image *image, GRand *rand)
{
    uint64_t size = cluster_size(image);
    uint64_t at[] = { 0, l1_offset(image), first_l2(image), reftable_offset(image),
                      be64_at(image, reftable_offset(image)) };

    return at[g_rand_int_range(rand, 0, G_N_ELEMENTS(at))] +
           g_rand_int_range(rand, 0, MIN(size, 256));
}

static void flip(Image *image, GRand *rand)
{
    for (int n = g_rand_int_range(rand, 1, 5); n > 0; n--) {
        uint64_t at = pick_place(image, rand);

        if (at < image->len) {
            image->bytes[at] ^= g_rand_boolean(rand) ? g_rand_int_range(rand, 1, 256)
                                                     : 1 << g_rand_int_range(rand, 0, 8);
        }
    }
}

/*
 * Where both can check, the errors found are as many.  (An image that one of them refuses to open,
 * or cannot check to the end, only must not do harm.)
 */
static void compare_random(const Image *image)
{
    Counts ours = our_check(image, 0), theirs = their_check(image, "");

    if (ours.done && theirs.done && !ours.result.check_errors && !theirs.result.check_errors) {
        assert_same(&ours.result, &theirs.result);
    }
}

static void test_random(void)
{
    const char *seed_text = g_getenv("TIDEMARK_SEED"), *rounds_text = g_getenv("TIDEMARK_ROUNDS");
    guint32 seed = seed_text ? (guint32)g_ascii_strtoull(seed_text, NULL, 0) : g_random_int();
    int rounds = rounds_text ? atoi(rounds_text) : ROUNDS;
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);

    g_test_message("TIDEMARK_SEED=%u", seed);
    for (int i = 0; have_tools() && i < rounds; i++) {
        Image image = image_new(g_rand_int_range(rand, 0, G_N_ELEMENTS(kinds)), false);

        image_load(&image);
        flip(&image, rand);
        image_save(&image);
        compare_random(&image);
        our_check(&image, BLOCK_FIX_LEAKS);
        our_check(&image, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS);
        image_free(&image);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK); /* damaged images are warned of */
    g_test_add_func("/qcow2-check/sound", test_sound);
    for (unsigned i = 0; i < G_N_ELEMENTS(damages); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2-check/damage/%s", damages[i].name);

        g_test_add_data_func(path, &damages[i], test_damage);
    }
    g_test_add_func("/qcow2-check/far", test_far);
    g_test_add_func("/qcow2-check/random", test_random);
    return g_test_run();
}
