/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON as a stream: what comes out of given input, and that it is the same however the input is
 * split, whatever stands in it; and that nothing broken keeps a later value from being read.
 */
#include "monitor/json-stream.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

#include "monitor/member-text.h"

/* Writes down what it is given, a line each. */
static void record(void *opaque, json_t *value, const char *text)
{
    GString *log = opaque;

    if (value) {
        char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_SORT_KEYS | JSON_COMPACT);

        g_string_append_printf(log, "%s\n", dump);
        free(dump);
        json_decref(value);
    } else {
        g_string_append_printf(log, "error: %s\n", text);
    }
}

static char *read_all(const char *data, size_t len)
{
    GString *log = g_string_new(NULL);
    JsonStream *stream = json_stream_new(record, log);

    json_stream_feed(stream, data, len);
    json_stream_end(stream);
    json_stream_free(stream);
    return g_string_free(log, false);
}

static void check(const char *input, const char *expected)
{
    g_autofree char *got = read_all(input, strlen(input));

    g_assert_cmpstr(got, ==, expected);
}

static void test_values(void)
{
    check("", "");
    check(" \r\n\t ", "");
    check("{}", "{}\n");
    check("{\"a\": [1, 2.5, true, null, \"}\"]} []", "{\"a\":[1,2.5,true,null,\"}\"]}\n[]\n");
    check("{'execute':'a'}{'execute':\"b\"}", "{\"execute\":\"a\"}\n{\"execute\":\"b\"}\n");
    check("'it\\'s \"so\"'", "\"it's \\\"so\\\"\"\n");
    check("1 \"x\"true[]-3", "1\n\"x\"\ntrue\n[]\n-3\n");
    check("'\\u00e9\\\\'", "\"\xc3\xa9\\\\\"\n");
}

static void test_errors(void)
{
    check("}", "error: JSON parse error, expecting value\n");
    check("{]{}", "error: JSON parse error, expecting value\n{}\n");
    check("{\"a\":1,\"a\":2}", "error: JSON parse error, duplicate key\n");
    check("[1 2]3", "error: JSON parse error, expected separator in list\n3\n");
    check("nope\n{}", "error: JSON parse error, invalid keyword 'nope'\n{}\n");
    check("{\"a\":1", "error: JSON parse error, premature EOI\n");
    check("'a", "error: JSON parse error, premature EOI\n");
}

/* The places where QEMU picks up the thread again. */
static void test_recovery(void)
{
    check("\xff{}", "error: JSON parse error, stray '\xef\xbf\xbd'\n{}\n");
    check("{\"a\"\xff{}", "error: JSON parse error, stray '\xef\xbf\xbd'\n{}\n");
    check("\"ab\xff{}", "error: JSON parse error, stray '\"ab\xef\xbf\xbd'\n{}\n");
    check("[%s]", "error: JSON parse error, stray '%'\n"
                  "error: JSON parse error, expecting value\n");
    check("%d \"lost\"\n\"kept\"", "error: JSON parse error, stray '%'\n\"kept\"\n");
    check("{\"a\":\"b\n\"}{}", "error: JSON parse error, stray '\"b\n'\n"
                               "error: JSON parse error, expecting value\n{}\n");
}

static char *nested(size_t depth, const char *end)
{
    g_autofree char *open = g_strnfill(depth, '[');
    g_autofree char *close = g_strnfill(depth, ']');

    return g_strconcat(open, end ? end : close, NULL);
}

static void test_depth(void)
{
    g_autofree char *deep = nested(JSON_STREAM_MAX_DEPTH, NULL);
    g_autofree char *too_deep = nested(JSON_STREAM_MAX_DEPTH + 1, "{}");
    g_autofree char *got = read_all(deep, strlen(deep));

    g_assert_false(g_str_has_prefix(got, "error"));
    check(too_deep, "error: JSON nesting depth limit exceeded\n{}\n");
}

static void feed_many(JsonStream *stream, const char *piece, size_t times)
{
    for (size_t i = 0; i < times; i++) {
        json_stream_feed(stream, piece, strlen(piece));
    }
}

static void test_limits(void)
{
    g_autoptr(GString) log = g_string_new(NULL);
    JsonStream *stream = json_stream_new(record, log);
    g_autofree char *kib = g_strnfill(1024, ' ');

    json_stream_feed(stream, "[", 1);
    feed_many(stream, "[],", JSON_STREAM_MAX_TOKENS / 3);
    g_assert_cmpstr(log->str, ==, "");
    feed_many(stream, "[],", 1);
    g_assert_true(g_str_has_prefix(log->str, "error: JSON token count limit exceeded\n"));
    json_stream_feed(stream, "\xff", 1);
    g_string_truncate(log, 0);
    json_stream_feed(stream, "[", 1);
    feed_many(stream, kib, JSON_STREAM_MAX_BYTES / 1024);
    json_stream_feed(stream, "{}", 2);
    g_assert_cmpstr(log->str, ==, "error: JSON token size limit exceeded\n{}\n");
    json_stream_free(stream);
}

/* Bytes that are likely to do something. */
static char *random_text(GRand *rand, size_t *len)
{
    static const char *const parts[] = {
        "{",    "}",  "[",   "]", ",",  ":",    "\"",       "'", "\\",        "\\u12", "a",
        "true", "-1", "0.5", " ", "\n", "\xff", "\xc3\xa9", "%", "{\"a\":1}", "'x'",   "\x01"};
    GString *text = g_string_new(NULL);
    int n = g_rand_int_range(rand, 0, 60);

    for (int i = 0; i < n; i++) {
        g_string_append(text, parts[g_rand_int_range(rand, 0, G_N_ELEMENTS(parts))]);
    }
    *len = text->len;
    return g_string_free(text, false);
}

static char *read_split(GRand *rand, const char *data, size_t len)
{
    GString *log = g_string_new(NULL);
    JsonStream *stream = json_stream_new(record, log);

    while (len) {
        size_t piece = (size_t)g_rand_int_range(rand, 1, (gint32)len + 1);

        json_stream_feed(stream, data, piece);
        data += piece;
        len -= piece;
    }
    json_stream_end(stream);
    json_stream_free(stream);
    return g_string_free(log, false);
}

/* Nothing that came before keeps a client that sends 0xff first from being understood. */
static void check_resynchronises(const char *data, size_t len)
{
    g_autoptr(GString) log = g_string_new(NULL);
    JsonStream *stream = json_stream_new(record, log);

    json_stream_feed(stream, data, len);
    json_stream_feed(stream, "\xff{\"last\":1}", 11);
    g_assert_true(g_str_has_suffix(log->str, "{\"last\":1}\n"));
    json_stream_free(stream);
}

static void test_random(void)
{
    const char *seed_text = g_getenv("TIDEMARK_SEED");
    guint32 seed = seed_text ? (guint32)g_ascii_strtoull(seed_text, NULL, 10) : g_random_int();
    GRand *rand = g_rand_new_with_seed(seed);

    g_test_message("TIDEMARK_SEED=%u", seed);
    for (int round = 0; round < 20000; round++) {
        size_t len;
        g_autofree char *text = random_text(rand, &len);
        g_autofree char *whole = read_all(text, len);
        g_autofree char *split = read_split(rand, text, len);

        g_assert_cmpstr(whole, ==, split);
        check_resynchronises(text, len);
    }
    g_rand_free(rand);
}

static void check_number(const char *text, const char *expected)
{
    g_autofree char *got = member_number_text(text, "id");

    g_assert_cmpstr(got, ==, expected);
}

static void test_member_text(void)
{
    check_number("{\"id\": 18446744073709551615}", "18446744073709551615");
    check_number("{'a':{'id':1},'id' :\n-1.5e3,'b':2}", "-1.5e3");
    check_number("{'a\\'':'id','id':7}", "7");
    check_number("{'a':'id','b':[{'id':1}]}", NULL);
    check_number("[\"id\"]", NULL);
    check_number("{'a\\", NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json-stream/values", test_values);
    g_test_add_func("/json-stream/errors", test_errors);
    g_test_add_func("/json-stream/recovery", test_recovery);
    g_test_add_func("/json-stream/depth", test_depth);
    g_test_add_func("/json-stream/limits", test_limits);
    g_test_add_func("/json-stream/random", test_random);
    g_test_add_func("/json-stream/member-text", test_member_text);
    return g_test_run();
}
