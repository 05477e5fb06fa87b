/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The NBD protocol's messages byte by byte, as the protocol's text lays them out. */
#include "nbd-export/extents.h"

static void check_bytes(const uint8_t *got, size_t got_len, const char *expect)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (size_t i = 0; i < got_len; i++) {
        g_string_append_printf(text, "%02x", got[i]);
    }
    g_assert_cmpstr(text->str, ==, expect);
}

/* Of digits in pairs. */
static size_t bytes_of(const char *hex, uint8_t *bytes)
{
    size_t len = strlen(hex) / 2;

    for (size_t i = 0; i < len; i++) {
        bytes[i] = g_ascii_xdigit_value(hex[2 * i]) << 4 | g_ascii_xdigit_value(hex[2 * i + 1]);
    }
    return len;
}

/* --- Requests --- */

#define MIDDLE                                                                                     \
    "0021"                                                                                         \
    "0001"                                                                                         \
    "0102030405060708"                                                                             \
    "1112131415161718" /* flags to offset */

typedef struct HeaderCase {
    const char *bytes;
    NbdMode mode;
    bool good;
    uint16_t flags, command;
    uint64_t length, payload;
} HeaderCase;

static const HeaderCase headers[] = {
    {"25609513" MIDDLE "f1f2f3f4", NBD_MODE_SIMPLE, true, 0x21, 1, 0xf1f2f3f4, 0xf1f2f3f4},
    {"25609513" MIDDLE "00000000", NBD_MODE_STRUCTURED, true, 0x21, 1, 0, 0},
    /* Only a write has a payload; the flag that tells of one is not known. */
    {"25609513"
     "00200000"
     "0102030405060708"
     "1112131415161718"
     "00000200",
     NBD_MODE_STRUCTURED, true, 0x20, 0, 512, 0},
    {"21e41c71" MIDDLE "00000000f1f2f3f4", NBD_MODE_EXTENDED, true, 0x21, 1, 0xf1f2f3f4,
     0xf1f2f3f4},
    {"21e41c71"
     "00000001"
     "0102030405060708"
     "1112131415161718"
     "0000000000000200",
     NBD_MODE_EXTENDED, true, 0, 1, 512, 512},
    {"21e41c71"
     "00200007"
     "0102030405060708"
     "1112131415161718"
     "000000000000000c",
     NBD_MODE_EXTENDED, true, 0x20, 7, 12, 12},
    {"21e41c71"
     "00000004"
     "0102030405060708"
     "1112131415161718"
     "fffffffffffffffe",
     NBD_MODE_EXTENDED, true, 0, 4, UINT64_MAX - 1, 0},
    {"21e41c71" MIDDLE "00000000", NBD_MODE_SIMPLE, false, 0, 0, 0, 0},
    {"25609513" MIDDLE "0000000000000000", NBD_MODE_EXTENDED, false, 0, 0, 0, 0},
    {"25609514" MIDDLE "00000000", NBD_MODE_STRUCTURED, false, 0, 0, 0, 0},
};

static void test_headers(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(headers); i++) {
        const HeaderCase *c = &headers[i];
        uint8_t bytes[NBD_EXTENDED_REQUEST_SIZE];
        NbdHeader header;

        g_assert_cmpuint(bytes_of(c->bytes, bytes), ==, nbd_header_size(c->mode));
        g_assert_cmpint(nbd_header_get(bytes, c->mode, &header), ==, c->good);
        if (c->good) {
            g_assert_cmpuint(header.flags, ==, c->flags);
            g_assert_cmpuint(header.command, ==, c->command);
            g_assert_cmpuint(header.cookie, ==, 0x0102030405060708);
            g_assert_cmpuint(header.offset, ==, 0x1112131415161718);
            g_assert_cmpuint(header.length, ==, c->length);
            g_assert_cmpuint(header.payload, ==, c->payload);
        }
    }
}

static void test_status_payload(void)
{
    static const struct {
        uint64_t len;
        int64_t ids;
    } cases[] = {{0, -1}, {4, -1}, {7, -1}, {8, 0}, {9, -1}, {11, -1}, {12, 1}, {48, 10}};

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_cmpint(nbd_status_payload_ids(cases[i].len), ==, cases[i].ids);
    }
}

/* --- Replies --- */

static void test_chunk_headers(void)
{
    uint8_t bytes[NBD_EXTENDED_CHUNK_HEADER_SIZE];

    for (NbdMode mode = NBD_MODE_STRUCTURED; mode <= NBD_MODE_EXTENDED; mode++) {
        uint8_t *end = nbd_chunk_header_put(bytes, mode, NBD_REPLY_ERROR_OFFSET, 0x0102030405060708,
                                            0x1112131415161718, 0xf1f2f3f4);
        bool extended = mode == NBD_MODE_EXTENDED;

        g_assert_cmpuint(end - bytes, ==, nbd_chunk_header_size(mode));
        check_bytes(bytes, end - bytes,
                    extended ? "6e8a278c"
                               "0000"
                               "8002"
                               "0102030405060708"
                               "1112131415161718"
                               "00000000f1f2f3f4"
                             : "668e33ef"
                               "0000"
                               "8002"
                               "0102030405060708"
                               "f1f2f3f4");
        nbd_chunk_header_set_done(bytes);
        check_bytes(bytes + 4, 4, "00018002");
    }
}

/* --- Extents --- */

static void check_extents(NbdExtents *extents, const char *expect)
{
    nbd_extents_finish(extents);
    check_bytes(extents->wire, extents->len, expect);
}

static void test_extents(void)
{
    NbdExtents e;
    uint8_t wire[24];

    g_assert_cmpuint(nbd_extents_size(NBD_MODE_STRUCTURED, 2), ==, 20);
    nbd_extents_init(&e, NBD_MODE_STRUCTURED, 7, 2, wire);
    g_assert_true(nbd_extents_empty(&e));
    g_assert_true(nbd_extents_add(&e, 0x1000, 1));
    g_assert_false(nbd_extents_empty(&e));
    g_assert_true(nbd_extents_add(&e, 0x200, 1)); /* the same: one extent */
    g_assert_true(nbd_extents_add(&e, 0x10000, 0));
    g_assert_false(nbd_extents_add(&e, 0x400, 1)); /* one too many */
    g_assert_true(nbd_extents_add(&e, 0x800, 0));  /* but this is not one more */
    check_extents(&e, "00000007"
                      "00001200"
                      "00000001"
                      "00010800"
                      "00000000");

    g_assert_cmpuint(nbd_extents_size(NBD_MODE_EXTENDED, 1), ==, sizeof(wire));
    nbd_extents_init(&e, NBD_MODE_EXTENDED, 7, 1, wire);
    g_assert_true(nbd_extents_add(&e, 1ull << 40, 3));
    g_assert_true(nbd_extents_add(&e, 1ull << 32, 3));
    g_assert_false(nbd_extents_add(&e, 1, 0));
    check_extents(&e, "00000007"
                      "00000001"
                      "0000010100000000"
                      "0000000000000003");
}

static void test_many_extents(void)
{
    g_autofree uint8_t *wire = g_malloc(nbd_extents_size(NBD_MODE_EXTENDED, 100000));
    NbdExtents e;

    nbd_extents_init(&e, NBD_MODE_EXTENDED, 1, 100000, wire);
    for (uint64_t i = 0; i < 100000; i++) {
        g_assert_true(nbd_extents_add(&e, i + 1, i % 2));
    }
    nbd_extents_finish(&e);
    g_assert_cmpuint(e.len, ==, 8 + 16 * 100000);
    g_assert_cmpuint(get_be32(e.wire + 4), ==, 100000);
    for (uint64_t i = 0; i < 100000; i++) {
        g_assert_cmpuint(get_be64(e.wire + 8 + 16 * i), ==, i + 1);
        g_assert_cmpuint(get_be64(e.wire + 16 + 16 * i), ==, i % 2);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nbd-wire/headers", test_headers);
    g_test_add_func("/nbd-wire/status-payload", test_status_payload);
    g_test_add_func("/nbd-wire/chunk-headers", test_chunk_headers);
    g_test_add_func("/nbd-wire/extents", test_extents);
    g_test_add_func("/nbd-wire/many-extents", test_many_extents);
    return g_test_run();
}
