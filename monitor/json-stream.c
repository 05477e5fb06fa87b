/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON read as a stream; see json-stream.h. */
#include "monitor/json-stream.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

#include "qmp-schema/json-text.h"
#include "util/error.h"

#define KEPT_BYTES (64 * 1024) /* a large message's memory is not kept for those that follow */
#define SHOWN_BYTES 64         /* of what an error shows of the input */

typedef enum State {
    STATE_BETWEEN, /* no value has begun */
    STATE_PLAIN,   /* inside a value, outside of strings */
    STATE_STRING,
    STATE_ESCAPE,   /* behind the backslash in a string */
    STATE_RECOVERY, /* behind a byte that can stand nowhere: up to where a value may begin */
} State;

struct JsonStream {
    JsonStreamFn *fn;
    void *opaque;
    GString *text; /* the value so far */
    State state;
    char quote;    /* of the string that is being read */
    size_t string; /* where it begins in text */
    unsigned depth;
    unsigned tokens; /* in the value so far; plain ones are not counted */
};

JsonStream *json_stream_new(JsonStreamFn *fn, void *opaque)
{
    JsonStream *stream = g_new0(JsonStream, 1);

    stream->fn = fn;
    stream->opaque = opaque;
    stream->text = g_string_new(NULL);
    return stream;
}

void json_stream_free(JsonStream *stream)
{
    if (stream) {
        g_string_free(stream->text, true);
        g_free(stream);
    }
}

static void reset(JsonStream *stream)
{
    if (stream->text->allocated_len > KEPT_BYTES) {
        g_string_free(stream->text, true);
        stream->text = g_string_new(NULL);
    }
    g_string_truncate(stream->text, 0);
    stream->state = STATE_BETWEEN;
    stream->depth = 0;
    stream->tokens = 0;
}

static void fail(JsonStream *stream, const char *error)
{
    reset(stream);
    stream->fn(stream->opaque, NULL, error);
}

static void finish(JsonStream *stream)
{
    g_autoptr(GError) error = NULL;
    json_t *value = json_text_parse(stream->text->str, stream->text->len, &error);

    if (!value) {
        fail(stream, error->message);
        return;
    }
    stream->fn(stream->opaque, value, stream->text->str);
    reset(stream);
}

/* False when the value has become too large, and was given up. */
static bool append(JsonStream *stream, char c)
{
    g_string_append_c(stream->text, c);
    if (stream->text->len > JSON_STREAM_MAX_BYTES) {
        fail(stream, "JSON token size limit exceeded");
        return false;
    }
    return true;
}

static bool append_token(JsonStream *stream, char c)
{
    if (++stream->tokens > JSON_STREAM_MAX_TOKENS) {
        fail(stream, "JSON token count limit exceeded");
        return false;
    }
    return append(stream, c);
}

/* A byte that can stand nowhere, perhaps in the string whose first part is @start. */
static void stray(JsonStream *stream, const char *start, char c)
{
    g_autofree char *shown = g_strndup(start, SHOWN_BYTES);
    g_autofree char *text = NULL;

    text = (c & 0x80) ? g_strdup_printf("JSON parse error, stray '%s\xef\xbf\xbd'", shown)
                      : g_strdup_printf("JSON parse error, stray '%s%c'", shown, c);
    fail(stream, text);
    stream->state = STATE_RECOVERY;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_structural(char c)
{
    return c && strchr("{}[],:", c);
}

/* The bytes of which numbers and keywords are made; whether they are right is json_text_parse()'s
 * matter. */
static bool is_plain(char c)
{
    return g_ascii_isalnum(c) || c == '-' || c == '+' || c == '.' || c == '_';
}

static void open_nested(JsonStream *stream, char c)
{
    if (++stream->depth > JSON_STREAM_MAX_DEPTH) {
        fail(stream, "JSON nesting depth limit exceeded");
        return;
    }
    stream->state = STATE_PLAIN;
    append_token(stream, c);
}

static void close_nested(JsonStream *stream, char c)
{
    if (stream->depth == 0) {
        fail(stream, "JSON parse error, expecting value");
    } else if (append_token(stream, c) && --stream->depth == 0) {
        finish(stream);
    }
}

static void open_string(JsonStream *stream, char c)
{
    stream->state = STATE_STRING;
    stream->quote = c;
    stream->string = stream->text->len;
    append_token(stream, c);
}

static void feed_structural(JsonStream *stream, char c)
{
    if (c == '{' || c == '[') {
        open_nested(stream, c);
    } else if (c == '}' || c == ']') {
        close_nested(stream, c);
    } else if (stream->depth == 0) {
        fail(stream, "JSON parse error, expecting value");
    } else {
        append_token(stream, c);
    }
}

/* Outside of strings.  A plain value (number, keyword) at the top ends where it cannot go on. */
static void feed_plain(JsonStream *stream, char c)
{
    if (stream->depth == 0 && stream->state == STATE_PLAIN && !is_plain(c)) {
        finish(stream);
    }
    if (is_space(c)) {
        if (stream->depth) {
            append(stream, c);
        }
    } else if (is_structural(c)) {
        feed_structural(stream, c);
    } else if (c == '"' || c == '\'') {
        open_string(stream, c);
    } else if (is_plain(c)) {
        stream->state = STATE_PLAIN;
        append(stream, c);
    } else {
        stray(stream, "", c);
    }
}

/* Can the byte stand in a string? 0xfe and 0xff are in no UTF-8, and clients send them to
 * synchronise. */
static bool check_in_string(JsonStream *stream, char c)
{
    if ((unsigned char)c < 0x20 || (unsigned char)c > 0xfd) {
        stray(stream, stream->text->str + stream->string, c);
        return false;
    }
    return true;
}

static void feed_string(JsonStream *stream, char c)
{
    if (!check_in_string(stream, c) || !append(stream, c)) {
        return;
    }
    if (c == '\\') {
        stream->state = STATE_ESCAPE;
    } else if (c == stream->quote) {
        stream->state = STATE_PLAIN;
        if (stream->depth == 0) {
            finish(stream);
        }
    }
}

static void feed_escape(JsonStream *stream, char c)
{
    if (check_in_string(stream, c)) {
        stream->state = STATE_STRING;
        append(stream, c);
    }
}

/* QEMU's rule: what is skipped ends before a structural character, or with a control byte or 0xfe,
 * 0xff. */
static void feed_recovery(JsonStream *stream, char c)
{
    if (is_structural(c)) {
        stream->state = STATE_BETWEEN;
        feed_structural(stream, c);
    } else if (((unsigned char)c < 0x20 && c != '\t') || (unsigned char)c > 0xfd) {
        stream->state = STATE_BETWEEN;
    }
}

void json_stream_feed(JsonStream *stream, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        switch (stream->state) {
        case STATE_BETWEEN:
        case STATE_PLAIN:
            feed_plain(stream, data[i]);
            break;
        case STATE_STRING:
            feed_string(stream, data[i]);
            break;
        case STATE_ESCAPE:
            feed_escape(stream, data[i]);
            break;
        case STATE_RECOVERY:
            feed_recovery(stream, data[i]);
            break;
        }
    }
}

void json_stream_end(JsonStream *stream)
{
    if (stream->state == STATE_PLAIN && stream->depth == 0) {
        finish(stream);
    } else if (stream->state != STATE_BETWEEN && stream->state != STATE_RECOVERY) {
        fail(stream, "JSON parse error, premature EOI");
    }
}
