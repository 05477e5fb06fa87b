/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Compressed clusters as bytes: what goes in comes out, and damage is told from data. */
#include <errno.h>
#include <glib.h>
#include <isa-l/igzip_lib.h>
#include <string.h>

#include "block/drivers/qcow2/codec.h"

#define MAX_CLUSTER (2 << 20)
#define WINDOW_BITS 12 /* what QEMU's reader has */

static const Qcow2Compression hows[] = { QCOW2_COMPRESSION_DEFLATE, QCOW2_COMPRESSION_ZSTD };

/* Words of chance with repeats near and far, so that a larger window would be of use. */
static void fill_text(char *buf, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t n = g_test_rand_int_range(4, 200);

        n = MIN(n, len - at);
        if (at > n && g_test_rand_bit()) {
            memmove(buf + at, buf + g_test_rand_int_range(0, at - n), n);
        } else {
            memset(buf + at, g_test_rand_int_range('a', 'z'), n);
        }
        at += n;
    }
}

static void fill_noise(char *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        buf[i] = g_test_rand_int_range(0, 256);
    }
}

static void round_trip(Qcow2Compression how, size_t len, void (*fill)(char *buf, size_t len))
{
    g_autofree char *src = g_malloc(len), *dst = g_malloc(len + 512), *back = g_malloc(len);

    fill(src, len);
    ssize_t packed = qcow2_pack(how, dst, len - 1, src, len);
    g_assert_cmpint(packed, >, 0);
    fill_noise(dst + packed, 512); /* the length is known to a sector only */
    g_assert_cmpint(qcow2_unpack(how, back, len, dst, packed + 512), ==, 0);
    g_assert_cmpmem(back, len, src, len);
}

static void test_round_trip(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(hows); i++) {
        for (size_t len = 512; len <= MAX_CLUSTER; len *= 2) {
            round_trip(hows[i], len, fill_text);
        }
    }
}

static void test_too_large(void)
{
    g_autofree char *src = g_malloc(65536), *dst = g_malloc(65536);

    fill_noise(src, 65536);
    for (unsigned i = 0; i < G_N_ELEMENTS(hows); i++) {
        for (size_t room = 1; room < 65536; room = room * 3 + 1) {
            g_assert_cmpint(qcow2_pack(hows[i], dst, room, src, 65536), ==, -ENOSPC);
        }
    }
}

/* Whatever is cut or changed: an error or some bytes, and nothing beyond the buffer (ASAN). */
static void test_damage(void)
{
    const size_t len = 4096;
    g_autofree char *src = g_malloc(len), *dst = g_malloc(len);

    for (unsigned round = 0; round < 20000; round++) {
        Qcow2Compression how = hows[round % 2];
        g_autofree char *back = g_malloc(len), *cut = NULL;

        fill_text(src, len);
        ssize_t packed = qcow2_pack(how, dst, len - 1, src, len);
        g_assert_cmpint(packed, >, 0);
        size_t left = g_test_rand_int_range(1, packed + 1);
        cut = g_memdup2(dst, left);
        if (left < (size_t)packed - 8 && g_test_rand_bit()) {
            g_assert_cmpint(qcow2_unpack(how, back, len, cut, left), ==, -EIO);
            continue;
        }
        for (int n = g_test_rand_int_range(1, 9); n > 0; n--) {
            cut[g_test_rand_int_range(0, left)] ^= 1 << g_test_rand_int_range(0, 8);
        }
        int ret = qcow2_unpack(how, back, len, cut, left);
        g_assert_true(ret == 0 || ret == -EIO);
    }
}

/* A reader that keeps no more than its window of what it has put out understands it all. */
static void test_window(void)
{
    const size_t len = 1 << 20, piece = 1 << 10;
    g_autofree char *src = g_malloc(len), *dst = g_malloc(len), *back = g_malloc(len);
    g_autofree struct inflate_state *z = g_new(struct inflate_state, 1);

    fill_text(src, len);
    ssize_t packed = qcow2_pack(QCOW2_COMPRESSION_DEFLATE, dst, len - 1, src, len);
    g_assert_cmpint(packed, >, 0);
    isal_inflate_init(z);
    z->hist_bits = WINDOW_BITS;
    z->next_in = (uint8_t *)dst;
    z->avail_in = packed;
    for (size_t at = 0; at < len; at += piece) {
        z->next_out = (uint8_t *)back + at;
        z->avail_out = piece;
        g_assert_cmpint(isal_inflate(z), >=, 0);
        g_assert_cmpuint(z->avail_out, ==, 0);
    }
    g_assert_cmpmem(back, len, src, len);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2-codec/round-trip", test_round_trip);
    g_test_add_func("/qcow2-codec/too-large", test_too_large);
    g_test_add_func("/qcow2-codec/damage", test_damage);
    g_test_add_func("/qcow2-codec/window", test_window);
    return g_test_run();
}
