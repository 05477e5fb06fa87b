/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blockdev-reopen under I/O: guests read and write two disks, on loop 0 or on another loop, while
 * their nodes are reopened at random, and while reopening them fails at each step.  The disks
 * always hold what the guests have written, and a call that fails changes nothing.
 */
#include <fcntl.h>
#include <string.h>

#include "tests/unit/disk-model.h"
#include "tests/unit/reopen-util.h"

#define WRITERS 4
#define ROUNDS 60

static void move_file(const char *from, const char *to)
{
    g_autofree char *a = path_of(from), *b = path_of(to);

    g_assert_cmpint(rename(a, b), ==, 0);
}

/* --- a guest ------------------------------------------------------------------------------ */

typedef struct Guest {
    TestUser user;
    DiskModel *model;
    ModelWriter writers[WRITERS];
    unsigned started, steps;
    bool stop; /* set while it is drained */
} Guest;

/* In flight from its start, which a drain must not overtake, to its end. */
static void co_guest_writer(void *opaque)
{
    Guest *guest = opaque;
    ModelWriter *writer = &guest->writers[guest->started++ % WRITERS];

    while (!guest->user.quiesced && !guest->stop) {
        g_assert_true(loop_current() == guest->user.child->node->loop);
        co_model_step(writer);
        guest->steps++;
    }
    test_user_end(&guest->user);
}

static void guest_go_on(void *opaque)
{
    Guest *guest = opaque;

    for (int i = 0; i < WRITERS && !guest->stop; i++) {
        test_user_begin(&guest->user);
        co_start(co_guest_writer, guest);
    }
}

/* The disk holds @fill all over. */
static void co_guest_start(Guest *guest, BlockNode *disk, uint8_t fill)
{
    *guest = (Guest){ .model = disk_model_new() };
    g_assert_true(co_test_user_init(&guest->user, disk,
                                    BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE,
                                    BLOCK_PERM_CONSISTENT_READ, NULL));
    memset(guest->model->bytes, fill, MODEL_SIZE);
    guest->user.resume = guest_go_on;
    guest->user.opaque = guest;
    for (int i = 0; i < WRITERS; i++) {
        guest->writers[i] = (ModelWriter){
            .model = guest->model,
            .child = guest->user.child,
            .rand = g_rand_new_with_seed(g_test_rand_int()),
            .start = (int64_t)MODEL_SIZE * i / WRITERS,
            .end = (int64_t)MODEL_SIZE * (i + 1) / WRITERS,
        };
    }
    guest_go_on(guest);
}

static void co_check_content(BlockChild *child, const DiskModel *model)
{
    g_autofree uint8_t *buf = g_malloc(MODEL_SIZE);

    co_move(child->node->loop);
    g_assert_cmpint(co_block_read_buf(child, 0, buf, MODEL_SIZE), ==, 0);
    co_move(control_loop());
    g_assert_cmpmem(buf, MODEL_SIZE, model->bytes, MODEL_SIZE);
}

static void co_guest_stop(Guest *guest)
{
    BlockDrain *drain = co_block_drain_begin(guest->user.child->node);

    guest->stop = true;
    co_block_drain_end(drain);
    co_check_content(guest->user.child, guest->model);
    g_assert_cmpint(guest->steps, >, 0);
    co_block_user_free(guest->user.user);
    for (int i = 0; i < WRITERS; i++) {
        g_rand_free(guest->writers[i].rand);
    }
}

/* --- the house ---------------------------------------------------------------------------- */

/*
 * Disk "top" is qcow2, on one of two chains that hold the same; disk "raw" stands on "low" or on
 * "high", a node above it.  "locked" is a file that another process locked; "away" has no user.
 */
static const char *const house[] = {
    "{'driver': 'file', 'node-name': 'a', 'filename': '%s/a', 'read-only': true}",
    "{'driver': 'raw', 'node-name': 'b', 'read-only': true, 'file': {'driver': 'file', "
    "'node-name': 'b-file', 'filename': '%s/b'}}",
    "{'driver': 'qcow2', 'node-name': 'mid', 'read-only': true, 'backing': 'a', 'file': {"
    "'driver': 'file', 'filename': '%s/mid'}}",
    "{'driver': 'file', 'node-name': 'top-file', 'filename': '%s/top'}",
    "{'driver': 'qcow2', 'node-name': 'top', 'file': 'top-file', 'backing': 'a'}",
    "{'driver': 'file', 'node-name': 'low', 'filename': '%s/low'}",
    "{'driver': 'raw', 'node-name': 'high', 'file': 'low'}",
    "{'driver': 'raw', 'node-name': 'raw', 'file': 'low'}",
    "{'driver': 'file', 'node-name': 'locked', 'filename': '%s/locked'}",
    "{'driver': 'file', 'node-name': 'away', 'filename': '%s/away'}",
};

typedef struct House {
    BlockNode *nodes[G_N_ELEMENTS(house)];
    Loop *loop; /* the guests', or NULL: loop 0 */
    Guest top, raw;
    int lock_fd;
} House;

static void make_images(void)
{
    run("cd %s && rm -f * && head -c 1M /dev/zero | tr '\\0' '\\125' >a && cp a b && "
        "truncate -s 1M low locked away && "
        "qemu-img create -q -f qcow2 -o cluster_size=4k -b a -F raw mid && "
        "qemu-img create -q -f qcow2 -o cluster_size=4k -b a -F raw top", folder);
}

/* Another process that does not let anybody write. */
static int lock_file(const char *name)
{
    struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1 };
    g_autofree char *path = path_of(name);
    int fd = open(path, O_RDWR | O_CLOEXEC);

    g_assert_cmpint(fcntl(fd, F_OFD_SETLK, &lock), ==, 0);
    return fd;
}

static House *co_house_open(bool elsewhere)
{
    House *h = g_new0(House, 1);

    make_images();
    h->lock_fd = lock_file("locked");
    for (unsigned i = 0; i < G_N_ELEMENTS(house); i++) {
        g_auto(GStrv) parts = g_strsplit(house[i], "%s", -1);
        g_autofree char *json = g_strjoinv(folder, parts);

        h->nodes[i] = co_open_json("%s", json);
    }
    co_guest_start(&h->top, block_node_find("top"), 0x55);
    co_guest_start(&h->raw, block_node_find("raw"), 0);
    if (elsewhere) {
        h->loop = start_loop();
        g_assert_true(co_block_graph_move(block_node_find("top"), h->loop, NULL));
        g_assert_true(co_block_graph_move(block_node_find("raw"), h->loop, NULL));
    }
    return h;
}

/* The images hold what the models say, and are clean. */
static void check_images(const House *h)
{
    const Guest *guests[] = { &h->top, &h->raw };
    static const char *const formats[] = { "qcow2", "raw" }, *const names[] = { "top", "low" };

    run("qemu-img check -q %s/top && qemu-img check -q %s/mid", folder, folder);
    for (int i = 0; i < 2; i++) {
        g_autofree char *model = path_of("model");

        g_assert_true(g_file_set_contents(model, (char *)guests[i]->model->bytes, MODEL_SIZE,
                                          NULL));
        run("qemu-img compare -q -f raw -F %s %s %s/%s", formats[i], model, folder, names[i]);
        disk_model_free(guests[i]->model);
    }
}

static void co_house_close(House *h)
{
    co_guest_stop(&h->top);
    co_guest_stop(&h->raw);
    for (unsigned i = G_N_ELEMENTS(house); i-- > 0;) {
        co_block_node_unref(h->nodes[i]);
    }
    loop_free(h->loop);
    close(h->lock_fd);
    check_images(h);
    g_free(h);
}

/* --- options at random -------------------------------------------------------------------- */

static const char *pick(const char *const *from, unsigned n)
{
    return from[g_test_rand_int_range(0, n)];
}

#define PICK(...)                                                                                  \
    pick((const char *const[]){ __VA_ARGS__ },                                                     \
         sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

/* Each the new options of one node, all of them good. */
static char *any_top(void)
{
    return g_strdup_printf(
        "{'driver': 'qcow2', 'node-name': 'top', 'file': 'top-file', 'backing': '%s'%s%s%s}",
        PICK("a", "b", "mid"),
        PICK("", ", 'discard': 'unmap'", ", 'discard': 'unmap', 'detect-zeroes': 'unmap'",
             ", 'detect-zeroes': 'on'"),
        PICK("", ", 'cache': {'no-flush': true}", ", 'cache': {'direct': true}"),
        PICK("", ", 'l2-cache-entry-size': 512", ", 'lazy-refcounts': true",
             ", 'overlap-check': 'all', 'cache-clean-interval': 0", ", 'l2-cache-size': 4096"));
}

static char *any_file(const char *name, const char *file)
{
    return g_strdup_printf("{'driver': 'file', 'node-name': '%s', 'filename': '%s/%s'%s%s}", name,
                           folder, file, PICK("", ", 'cache': {'direct': true}"),
                           PICK("", ", 'discard': 'unmap'", ", 'detect-zeroes': 'on'"));
}

static char *any_raw(void)
{
    return g_strdup_printf("{'driver': 'raw', 'node-name': 'raw', 'file': '%s'%s%s}",
                           PICK("low", "high"), PICK("", ", 'offset': 0", ", 'size': 1048576"),
                           PICK("", ", 'discard': 'unmap'", ", 'cache': {'direct': true}"));
}

/* Nobody writes to the backing files: they may be read-only or not. */
static char *any_backing(void)
{
    return g_strdup_printf(
        "{'driver': 'raw', 'node-name': 'b', 'read-only': %s, 'file': {'driver': 'file', "
        "'filename': '%s/b'%s}}",
        PICK("true", "false"), folder,
        PICK("", ", 'cache': {'direct': true}", ", 'read-only': true"));
}

static char *any_middle(void)
{
    return g_strdup_printf("{'driver': 'qcow2', 'node-name': 'mid', 'backing': '%s', 'file': {"
                           "'driver': 'file', 'filename': '%s/mid'}, 'read-only': %s}",
                           PICK("a", "b"), folder, PICK("true", "false"));
}

static char *any_node(int kind)
{
    switch (kind) {
    case 0:
        return any_top();
    case 1:
        return any_file("top-file", "top");
    case 2:
        return any_file("low", "low");
    case 3:
        return any_raw();
    case 4:
        return any_backing();
    default:
        return any_middle();
    }
}

/* Some nodes, each once, in any order: "A, B, " */
static char *any_nodes(void)
{
    GString *text = g_string_new(NULL);
    int first = g_test_rand_int_range(0, 6), n = g_test_rand_int_range(1, 5);
    int stride = g_test_rand_bit() ? 1 : 5;

    for (int i = 0; i < n; i++) {
        g_autofree char *node = any_node((first + i * stride) % 6);

        g_string_append_printf(text, "%s, ", node);
    }
    return g_string_free(text, false);
}

/* --- what is refused, at each step -------------------------------------------------------- */

typedef struct Refusal {
    const char *what, *pattern;
    const char *node;           /* %s: the folder */
    const char *hide, *replace; /* the file's name goes away; another file comes in its place */
} Refusal;

#define TOP "{'driver': 'qcow2', 'node-name': 'top', 'file': 'top-file', "
#define BELOW_B "'file': {'driver': 'file', 'filename': '%s/b'"

static const Refusal refusals[] = {
    { "no such node", "Failed to find node*",
      "{'driver': 'raw', 'node-name': 'nobody', 'file': 'low'}", NULL, NULL },
    { "no such child", "Cannot find device*", TOP "'backing': 'nobody'}", NULL, NULL },
    { "an option that stays", "Cannot change the option 'driver'",
      "{'driver': 'raw', 'node-name': 'top', 'file': 'top-file'}", NULL, NULL },
    { "a child's option that stays", "Cannot change the option 'locking'",
      "{'driver': 'raw', 'node-name': 'b', " BELOW_B ", 'locking': 'off'}}", NULL, NULL },
    { "a cycle", "Making 'top' a backing child*", TOP "'backing': 'top'}", NULL, NULL },
    { "the driver says no", "L2 cache entry size*",
      TOP "'backing': 'b', 'l2-cache-entry-size': 513}", NULL, NULL },
    { "it is being written", "*ead-only*", TOP "'backing': 'mid', 'read-only': true}", NULL, NULL },
    { "what is below it is being written", "*ead-only*",
      "{'driver': 'file', 'node-name': 'low', 'filename': '%s/low', 'read-only': true}", NULL,
      NULL },
    { "somebody else's lock", "Failed to get*lock*",
      "{'driver': 'raw', 'node-name': 'raw', 'file': 'locked'}", NULL, NULL },
    { "permissions", "Permission conflict*", TOP "'backing': 'low'}", NULL, NULL },
    { "the file is gone", "Could not reopen file*",
      "{'driver': 'raw', 'node-name': 'b', 'read-only': %s, " BELOW_B "}}", "b", NULL },
    { "it is another file", "Could not reopen file: * is another file now",
      "{'driver': 'raw', 'node-name': 'b', 'read-only': %s, " BELOW_B "}}", "b", "a" },
};

/* The first %s may be whether b is to be read-only: the other way round. */
static char *fill_in(const char *node)
{
    g_auto(GStrv) parts = g_strsplit(node, "'read-only': %s", 2);
    g_autofree char *toggled = g_strdup_printf(
        "'read-only': %s", block_node_find("b")->options.read_only ? "false" : "true");
    g_autofree char *text = g_strjoinv(toggled, parts);
    g_auto(GStrv) rest = g_strsplit(text, "%s", -1);

    return g_strjoinv(folder, rest);
}

static void co_refuse(const Refusal *r, const char *others)
{
    g_autofree char *node = fill_in(r->node);

    g_test_message("%s", r->what);
    if (r->hide) {
        move_file(r->hide, "hidden");
    }
    if (r->replace) {
        run("cp %s/%s %s/%s", folder, r->replace, folder, r->hide);
    }
    co_reopen_refused(r->pattern, "[%s %s]", others, node);
    if (r->hide) {
        move_file("hidden", r->hide);
    }
}

/* --- the tests ---------------------------------------------------------------------------- */

static void co_random(bool elsewhere)
{
    House *h = co_house_open(elsewhere);

    for (int i = 0; i < ROUNDS; i++) {
        g_autofree char *nodes = any_nodes();

        nodes[strlen(nodes) - 2] = '\0';
        co_reopen("[%s]", nodes);
        co_sleep_ns(g_test_rand_int_range(0, 3000000));
    }
    co_house_close(h);
}

static void co_failures(bool elsewhere)
{
    House *h = co_house_open(elsewhere);

    for (unsigned i = 0; i < 3 * G_N_ELEMENTS(refusals); i++) {
        const Refusal *r = &refusals[i % G_N_ELEMENTS(refusals)];
        /* A node that is named twice gets both sets of options. */
        g_autofree char *others = strstr(r->node, "'b', ") ? any_top() : any_backing();
        g_autofree char *list = i < G_N_ELEMENTS(refusals) ? g_strdup("")
                                                           : g_strdup_printf("%s, ", others);

        co_refuse(r, list);
        co_sleep_ns(g_test_rand_int_range(0, 3000000));
    }
    co_house_close(h);
}

static void co_random_here(void *opaque)
{
    co_random(false);
}

static void co_random_elsewhere(void *opaque)
{
    co_random(true);
}

static void co_failures_here(void *opaque)
{
    co_failures(false);
}

static void co_failures_elsewhere(void *opaque)
{
    co_failures(true);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    block_drivers_register();
    make_folder();
    add_control_test("/reopen/random", co_random_here);
    add_control_test("/reopen/random-on-another-loop", co_random_elsewhere);
    add_control_test("/reopen/failures", co_failures_here);
    add_control_test("/reopen/failures-on-another-loop", co_failures_elsewhere);
    ret = g_test_run();
    remove_folder();
    return ret;
}
