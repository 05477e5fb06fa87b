/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A fuzz target without libFuzzer: runs each file given once, then mutations of them for a time.
 *
 * usage: fuzz-NAME [-max_total_time=SECONDS] FILE-OR-FOLDER...
 *
 * TIDEMARK_SEED repeats a run.  The input at hand lies in the file "fuzz-input" of the current
 * folder, so that it is there after a crash.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

#include "tests/fuzz/fuzz.h"

#define MAX_MUTATED (256u << 10)

static void add_file(GPtrArray *inputs, const char *path)
{
    char *data;
    gsize len;

    if (g_file_get_contents(path, &data, &len, NULL)) {
        g_ptr_array_add(inputs, g_bytes_new_take(data, len));
    } else {
        fprintf(stderr, "cannot read %s\n", path);
        exit(EXIT_FAILURE);
    }
}

static void add_path(GPtrArray *inputs, const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    if (!dir) {
        add_file(inputs, path);
        return;
    }
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);

        add_file(inputs, file);
    }
}

static void run_one(const uint8_t *data, size_t len)
{
    g_file_set_contents_full("fuzz-input", (const char *)data, (gssize)len,
                             G_FILE_SET_CONTENTS_NONE, 0644, NULL);
    LLVMFuzzerTestOneInput(data, len);
}

/* Overwrites a number of 1 to 8 bytes with one that tends to break things. */
static void mutate_number(GRand *rnd, uint8_t *data, size_t len)
{
    static const uint64_t odd[] = {0, 1, 2, 0x7f, 0xff, 0x200, 0x10000, 0x7fffffff, 0xffffffff,
                                   0x7fffffffffffffff, 0xffffffffffffffff, 0x8000000000000000};
    size_t width = 1u << g_rand_int_range(rnd, 0, 4);
    uint64_t value = odd[g_rand_int_range(rnd, 0, G_N_ELEMENTS(odd))];

    if (len < width) {
        return;
    }
    /* tables are aligned, and what counts is mostly at the start */
    size_t at = g_rand_int_range(rnd, 0, (int)(g_rand_boolean(rnd) ? MIN(len, 1024) : len));
    at = MIN(at & ~(width - 1), len - width);
    if (g_rand_boolean(rnd)) {
        value = (uint64_t)g_rand_int_range(rnd, 0, 256) << (8 * g_rand_int_range(rnd, 0, 8));
    }
    for (size_t i = 0; i < width; i++) {
        data[at + i] = (uint8_t)(value >> (8 * (width - 1 - i)));
    }
}

static void mutate(GRand *rnd, GByteArray *data)
{
    size_t from, to, n;

    switch (data->len ? g_rand_int_range(rnd, 0, 8) : 0) {
    case 0:
        data->len ? (void)g_byte_array_set_size(data, g_rand_int_range(rnd, 0, (int)data->len + 1))
                  : (void)g_byte_array_append(data, (const guint8 *)"x", 1);
        break;
    case 1: /* a piece moves */
        n = g_rand_int_range(rnd, 1, (int)MIN(data->len, 4096) + 1);
        from = g_rand_int_range(rnd, 0, (int)(data->len - n + 1));
        to = g_rand_int_range(rnd, 0, (int)(data->len - n + 1));
        memmove(data->data + to, data->data + from, n);
        break;
    case 2:
        data->data[g_rand_int_range(rnd, 0, (int)data->len)] ^= 1u << g_rand_int_range(rnd, 0, 8);
        break;
    default:
        mutate_number(rnd, data->data, data->len);
    }
}

static void run_mutation(GRand *rnd, GBytes *input)
{
    gsize len;
    const guint8 *bytes = g_bytes_get_data(input, &len);
    g_autoptr(GByteArray) data = g_byte_array_new();
    int n = 1 << g_rand_int_range(rnd, 0, 5);

    g_byte_array_append(data, bytes, (guint)MIN(len, MAX_MUTATED));
    while (n--) {
        mutate(rnd, data);
    }
    run_one(data->data, data->len);
}

int main(int argc, char **argv)
{
    g_autoptr(GPtrArray) inputs = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    const char *text = g_getenv("TIDEMARK_SEED");
    guint32 seed = text ? (guint32)strtoul(text, NULL, 0) : g_random_int();
    g_autoptr(GRand) rnd = g_rand_new_with_seed(seed);
    gint64 seconds = 0, end;
    unsigned long runs = 0;

    for (int i = 1; i < argc; i++) {
        if (g_str_has_prefix(argv[i], "-max_total_time=")) {
            seconds = g_ascii_strtoll(strchr(argv[i], '=') + 1, NULL, 10);
        } else if (argv[i][0] != '-') {
            add_path(inputs, argv[i]);
        }
    }
    printf("TIDEMARK_SEED=%u, %u inputs\n", seed, inputs->len);
    LLVMFuzzerInitialize(&argc, &argv);
    for (guint i = 0; i < inputs->len; i++, runs++) {
        gsize len;
        const uint8_t *data = g_bytes_get_data(inputs->pdata[i], &len);

        run_one(data, len);
    }
    end = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
    while (inputs->len && g_get_monotonic_time() < end) {
        run_mutation(rnd, inputs->pdata[g_rand_int_range(rnd, 0, (int)inputs->len)]);
        runs++;
    }
    printf("%lu runs\n", runs);
    remove("fuzz-input");
    return EXIT_SUCCESS;
}
