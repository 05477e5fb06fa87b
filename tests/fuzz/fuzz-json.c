/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The input is what a QMP client sends: read as a stream of JSON, in one piece and in many, it
 * gives the same values and errors.
 */
#include <stdlib.h>
#include <string.h>

#include "monitor/json-stream.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return 0;
}

/* Writes down what it is given. */
static void record(void *opaque, json_t *value, const char *text)
{
    GString *log = opaque;

    if (value) {
        char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_SORT_KEYS | JSON_COMPACT);

        g_string_append_printf(log, "%s\n", dump ? dump : "");
        free(dump);
        json_decref(value);
    } else {
        g_string_append_printf(log, "error: %s\n", text);
    }
}

static char *read_in_pieces(const char *data, size_t size, FuzzDice *dice)
{
    GString *log = g_string_new(NULL);
    JsonStream *stream = json_stream_new(record, log);

    for (size_t at = 0; at < size;) {
        size_t len = dice ? 1 + fuzz_pick(dice, MIN(size - at, 9)) : size;

        len = MIN(len, size - at);
        json_stream_feed(stream, data + at, len);
        at += len;
    }
    json_stream_end(stream);
    json_stream_free(stream);
    return g_string_free(log, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzDice dice = fuzz_dice(data, size);
    g_autofree char *whole = read_in_pieces((const char *)data, size, NULL);
    g_autofree char *pieces = read_in_pieces((const char *)data, size, &dice);

    g_assert_cmpstr(whole, ==, pieces);
    return 0;
}
