/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The input is what an NBD client sends in transmission.  Its first byte chooses what was
 * negotiated before: the mode, and whether there are contexts.  Headers are in it without their
 * magic, which is put in front of each, so that no input ends for a wrong one; payloads are as long
 * as the headers have it, or as there is input.
 */
#include "nbd-export/wire.h"
#include "tests/fuzz/fuzz-nbd.h"

#define MAX_HEADERS 200

static void put_bytes(GByteArray *talk, const void *data, size_t size)
{
    g_byte_array_append(talk, data, size);
}

static void put_option(GByteArray *talk, uint32_t option, const GByteArray *data)
{
    uint8_t head[NBD_OPTION_HEADER_SIZE], *p = nbd_put64(head, NBD_OPTION_MAGIC);

    nbd_put32(nbd_put32(p, option), data->len);
    put_bytes(talk, head, sizeof(head));
    put_bytes(talk, data->data, data->len);
}

static void put_name(GByteArray *data, const char *name)
{
    uint8_t len[4];

    nbd_put32(len, strlen(name));
    put_bytes(data, len, sizeof(len));
    put_bytes(data, name, strlen(name));
}

static void put_contexts(GByteArray *talk)
{
    static const char *const queries[] = {"base:allocation", "qemu:allocation-depth",
                                          "qemu:dirty-bitmap:b0", "qemu:dirty-bitmap:b1"};
    g_autoptr(GByteArray) data = g_byte_array_new();
    uint8_t count[4];

    put_name(data, "maps");
    nbd_put32(count, G_N_ELEMENTS(queries));
    put_bytes(data, count, sizeof(count));
    for (size_t i = 0; i < G_N_ELEMENTS(queries); i++) {
        put_name(data, queries[i]);
    }
    put_option(talk, NBD_OPT_SET_META_CONTEXT, data);
}

static void put_negotiation(GByteArray *talk, NbdMode mode, bool contexts)
{
    static const uint8_t flags[] = {0, 0, 0, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES};
    g_autoptr(GByteArray) empty = g_byte_array_new(), go = g_byte_array_new();

    put_bytes(talk, flags, sizeof(flags));
    if (mode >= NBD_MODE_STRUCTURED) {
        put_option(talk, NBD_OPT_STRUCTURED_REPLY, empty);
    }
    if (mode == NBD_MODE_EXTENDED) {
        put_option(talk, NBD_OPT_EXTENDED_HEADERS, empty);
    }
    if (contexts) {
        put_contexts(talk);
    }
    put_name(go, "maps");
    put_bytes(go, "\0\0", 2);
    put_option(talk, NBD_OPT_GO, go);
}

/* One header and its payload; returns how much of the input that was. */
static size_t put_request(GByteArray *talk, NbdMode mode, const uint8_t *data, size_t size)
{
    size_t len = nbd_header_size(mode), taken = MIN(size, len - 4);
    uint8_t bytes[NBD_EXTENDED_REQUEST_SIZE] = {0};
    NbdHeader header;

    nbd_put32(bytes, mode == NBD_MODE_EXTENDED ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC);
    memcpy(bytes + 4, data, taken);
    put_bytes(talk, bytes, 4 + taken);
    g_assert_true(nbd_header_get(bytes, mode, &header));
    size_t payload = MIN(header.payload, size - taken);
    put_bytes(talk, data + taken, payload);
    return taken + payload;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_serve(NULL);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) talk = g_byte_array_new();

    if (size == 0) {
        return 0;
    }
    NbdMode mode = data[0] % 3;
    put_negotiation(talk, mode, data[0] & 0x80);
    size_t pos = 1;
    for (unsigned i = 0; i < MAX_HEADERS && pos < size; i++) {
        pos += put_request(talk, mode, data + pos, size - pos);
    }
    fuzz_talk(talk->data, talk->len);
    return 0;
}
