/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Slices against a naive model: the same bytes laid out flat; and the range helpers. */
#include <glib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/io-slice.h"
#include "util/progress.h"
#include "util/range.h"

#define ROOM 4096
#define MAX_IOVS 12

/* A slice at random, and which byte of the room each of its bytes is. */
typedef struct Layout {
    unsigned char room[ROOM];
    struct iovec iov[MAX_IOVS];
    IoSlice slice;
    size_t place[ROOM];
} Layout;

static size_t rand_up_to(GRand *rand, size_t most)
{
    return (size_t)g_rand_int_range(rand, 0, (gint)most + 1);
}

static void lay_out(GRand *rand, Layout *layout)
{
    unsigned niov = (unsigned)g_rand_int_range(rand, 1, MAX_IOVS + 1);
    size_t places[ROOM], n = 0, at = 0, skip, len;
    IoSlice all;

    for (unsigned i = 0; i < niov; i++) {
        at += rand_up_to(rand, 50); /* gaps */
        layout->iov[i].iov_base = layout->room + at;
        layout->iov[i].iov_len = g_rand_int_range(rand, 0, 4) ? rand_up_to(rand, 200) : 0;
        for (size_t j = 0; j < layout->iov[i].iov_len; j++) {
            places[n++] = at++;
        }
    }
    all = io_slice(layout->iov, niov);
    g_assert_cmpuint(all.len, ==, n);
    skip = rand_up_to(rand, n);
    len = rand_up_to(rand, n - skip);
    layout->slice = io_slice_sub(&all, skip, len);
    memcpy(layout->place, places + skip, len * sizeof(places[0]));
}

static void fill(GRand *rand, unsigned char *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        buf[i] = (unsigned char)g_rand_int(rand);
    }
}

static void check_write(GRand *rand, Layout *layout)
{
    unsigned char expected[ROOM], data[ROOM];
    size_t len = rand_up_to(rand, layout->slice.len);

    fill(rand, layout->room, ROOM);
    fill(rand, data, ROOM);
    memcpy(expected, layout->room, ROOM);
    for (size_t i = 0; i < len; i++) {
        expected[layout->place[i]] = data[i];
    }
    io_slice_write(&layout->slice, data, len);
    g_assert_cmpmem(layout->room, ROOM, expected, ROOM);
}

static void check_read(GRand *rand, Layout *layout)
{
    unsigned char data[ROOM];

    fill(rand, layout->room, ROOM);
    io_slice_read(&layout->slice, data);
    for (size_t i = 0; i < layout->slice.len; i++) {
        g_assert_cmpuint(data[i], ==, layout->room[layout->place[i]]);
    }
}

static void check_copy(GRand *rand, Layout *to, Layout *from)
{
    unsigned char data[ROOM], expected[ROOM];
    IoSlice part = io_slice_sub(&from->slice, 0, MIN(from->slice.len, to->slice.len));

    fill(rand, from->room, ROOM);
    memcpy(expected, to->room, ROOM);
    io_slice_read(&part, data);
    for (size_t i = 0; i < part.len; i++) {
        expected[to->place[i]] = data[i];
    }
    io_slice_copy(&to->slice, &part);
    g_assert_cmpmem(to->room, ROOM, expected, ROOM);
}

static void check_zero(GRand *rand, Layout *layout)
{
    memset(layout->room, 0xff, ROOM);
    g_assert_cmpint(io_slice_is_zero(&layout->slice), ==, layout->slice.len == 0);
    io_slice_zero(&layout->slice);
    g_assert_true(io_slice_is_zero(&layout->slice));
    for (size_t i = 0, next = 0; i < ROOM; i++) {
        bool in = next < layout->slice.len && layout->place[next] == i;

        g_assert_cmpuint(layout->room[i], ==, in ? 0 : 0xff);
        next += in;
    }
    if (layout->slice.len) {
        layout->room[layout->place[rand_up_to(rand, layout->slice.len - 1)]] = 1;
        g_assert_false(io_slice_is_zero(&layout->slice));
    }
}

static void check_iovs(GRand *rand, Layout *layout)
{
    struct iovec out[MAX_IOVS];
    size_t covered, at = 0;
    unsigned max = (unsigned)g_rand_int_range(rand, 0, MAX_IOVS + 1);
    unsigned n = io_slice_to_iov(&layout->slice, out, max, &covered);

    g_assert_cmpuint(n, <=, max);
    g_assert_true(covered == layout->slice.len || n == max);
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmpuint(out[i].iov_len, >, 0);
        for (size_t j = 0; j < out[i].iov_len; j++) {
            g_assert_true((unsigned char *)out[i].iov_base + j ==
                          layout->room + layout->place[at++]);
        }
    }
    g_assert_cmpuint(at, ==, covered);
}

static void test_random(void)
{
    const char *given = g_getenv("TIDEMARK_SEED");
    guint32 seed = given ? (guint32)strtoul(given, NULL, 0) : g_random_int();
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_autofree Layout *a = g_new0(Layout, 1), *b = g_new0(Layout, 1);

    g_test_message("TIDEMARK_SEED=%u", seed);
    for (int i = 0; i < 3000; i++) {
        lay_out(rand, a);
        lay_out(rand, b);
        check_write(rand, a);
        check_read(rand, a);
        check_copy(rand, a, b);
        check_zero(rand, a);
        check_iovs(rand, a);
    }
}

/* A sub-slice of a sub-slice is the sub-slice at the sum of the offsets. */
static void test_sub(void)
{
    char buf[10] = "0123456789", out[4] = "";
    struct iovec iov[4] = {{buf, 3}, {buf + 3, 0}, {buf + 3, 4}, {buf + 7, 3}};
    IoSlice all = io_slice(iov, 4), sub = io_slice_sub(&all, 2, 7), subsub;

    subsub = io_slice_sub(&sub, 3, 3);
    io_slice_read(&subsub, out);
    g_assert_cmpstr(out, ==, "567");
    subsub = io_slice_sub(&sub, 7, 0);
    g_assert_true(io_slice_is_zero(&subsub));
}

static void test_aligned(void)
{
    _Alignas(4096) static char buf[2048];
    struct iovec iov[2] = {{buf, 512}, {buf + 1024, 1024}};
    IoSlice slice = io_slice(iov, 2), sub;

    g_assert_true(io_slice_is_aligned(&slice, 512));
    g_assert_false(io_slice_is_aligned(&slice, 4096));
    sub = io_slice_sub(&slice, 512, 1024);
    g_assert_true(io_slice_is_aligned(&sub, 1024));
    sub = io_slice_sub(&slice, 256, 512);
    g_assert_true(io_slice_is_aligned(&sub, 256));
    g_assert_false(io_slice_is_aligned(&sub, 512));
}

static void test_zero_buffer(void)
{
    g_autofree char *buf = g_malloc0(300);

    for (size_t start = 0; start < 20; start++) {
        for (size_t len = 0; len < 100; len++) {
            g_assert_true(buffer_is_zero(buf + start, len));
            for (size_t at = 0; at < len; at++) {
                buf[start + at] = 1;
                g_assert_false(buffer_is_zero(buf + start, len));
                buf[start + at] = 0;
            }
            buf[start + len] = 1;
            g_assert_true(buffer_is_zero(buf + start, len));
            buf[start + len] = 0;
        }
    }
}

static void test_range(void)
{
    g_assert_true(range_overlaps(0, 10, 9, 1));
    g_assert_false(range_overlaps(0, 10, 10, 1));
    g_assert_false(range_overlaps(0, 10, 5, 0));
    g_assert_true(range_contains(0, 10, 10, 0));
    g_assert_true(range_contains(5, 10, 5, 10));
    g_assert_false(range_contains(5, 10, 4, 2));
    g_assert_false(range_contains(5, 10, 14, 2));
    g_assert_true(range_valid(INT64_MAX, 0, INT64_MAX));
    g_assert_false(range_valid(INT64_MAX, 1, INT64_MAX));
    g_assert_false(range_valid(1, INT64_MAX, INT64_MAX));
    g_assert_false(range_valid(-1, 1, 10));
    g_assert_false(range_valid(1, -1, 10));
    g_assert_cmpint(align_down(4097, 4096), ==, 4096);
    g_assert_cmpint(align_up(4097, 4096), ==, 8192);
    g_assert_cmpint(align_up(4096, 4096), ==, 4096);
    g_assert_true(is_aligned(8192, 4096) && !is_aligned(8193, 4096));
    g_assert_true(is_power_of_two(1) && !is_power_of_two(0) && !is_power_of_two(12));
    g_assert_cmpint(units_covering(INT64_MAX, 2), ==, INT64_MAX / 2 + 1);
}

static void test_progress(void)
{
    Progress progress = {0};

    progress_set_remaining(&progress, 100);
    progress_advance(&progress, 30);
    progress_add_remaining(&progress, 5);
    g_assert_cmpint(progress_current(&progress), ==, 30);
    g_assert_cmpint(progress_total(&progress), ==, 105);
    progress_set_remaining(&progress, 0);
    g_assert_cmpint(progress_total(&progress), ==, 30);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/io-slice/random", test_random);
    g_test_add_func("/io-slice/sub", test_sub);
    g_test_add_func("/io-slice/aligned", test_aligned);
    g_test_add_func("/io-slice/zero-buffer", test_zero_buffer);
    g_test_add_func("/range", test_range);
    g_test_add_func("/progress", test_progress);
    return g_test_run();
}
