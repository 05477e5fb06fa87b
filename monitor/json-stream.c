/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON read as a stream; see json-stream.h. */
#include "monitor/json-stream.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

#include "qmp-schema/json-text.h"
#include "util/error.h"

typedef enum State {
    STATE_BETWEEN, /* no value has begun */
    STATE_PLAIN,   /* inside a value, outside of strings */
    STATE_STRING,
    STATE_ESCAPE, /* behind the backslash in a string */
} State;

struct JsonStream {
    JsonStreamFn *fn;
    void *opaque;
    GString *text; /* the value so far */
    State state;
    char quote; /* of the string that is being read */
    unsigned depth;
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

/* A large message's memory is not kept for the small ones that follow. */
static void reset(JsonStream *stream)
{
    if (stream->text->allocated_len > 64 * 1024) {
        g_string_free(stream->text, true);
        stream->text = g_string_new(NULL);
    }
    g_string_truncate(stream->text, 0);
    stream->state = STATE_BETWEEN;
    stream->depth = 0;
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
    reset(stream);
    stream->fn(stream->opaque, value, NULL);
}

static void append(JsonStream *stream, char c)
{
    g_string_append_c(stream->text, c);
    if (stream->text->len > JSON_STREAM_MAX_BYTES) {
        fail(stream, "JSON token size limit exceeded");
    }
}

static void stray(JsonStream *stream, char c)
{
    g_autofree char *text = NULL;

    text = (c & 0x80) ? g_strdup("JSON parse error, stray '\xef\xbf\xbd'")
                      : g_strdup_printf("JSON parse error, stray '\\u%04X'", c);
    fail(stream, text);
}

static void open_nested(JsonStream *stream, char c)
{
    if (++stream->depth > JSON_STREAM_MAX_DEPTH) {
        fail(stream, "JSON nesting depth limit exceeded");
        return;
    }
    stream->state = STATE_PLAIN;
    append(stream, c);
}

static void close_nested(JsonStream *stream, char c)
{
    if (stream->depth == 0) {
        fail(stream, "JSON parse error, expecting value");
        return;
    }
    append(stream, c);
    if (stream->state == STATE_PLAIN && --stream->depth == 0) {
        finish(stream);
    }
}

/* Outside of strings. A plain value (number, keyword) at the top ends at the next separator. */
static void feed_plain(JsonStream *stream, char c)
{
    bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';

    if (stream->depth == 0 && stream->state == STATE_PLAIN && (space || strchr("{}[],:\"'", c))) {
        finish(stream);
    }
    if (space) {
        if (stream->depth) {
            append(stream, c);
        }
    } else if ((c & 0x80) || (unsigned char)c < 0x20 || c == 0x7f) {
        stray(stream, c);
    } else if (c == '{' || c == '[') {
        open_nested(stream, c);
    } else if (c == '}' || c == ']') {
        close_nested(stream, c);
    } else if (c == '"' || c == '\'') {
        stream->state = STATE_STRING;
        stream->quote = c;
        append(stream, c);
    } else {
        stream->state = STATE_PLAIN;
        append(stream, c);
    }
}

static void feed_string(JsonStream *stream, char c)
{
    if ((unsigned char)c < 0x20) {
        stray(stream, c);
        return;
    }
    append(stream, c);
    if (stream->state != STATE_STRING) {
        return; /* it has become too large */
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
    if ((unsigned char)c < 0x20) {
        stray(stream, c);
        return;
    }
    stream->state = STATE_STRING;
    append(stream, c);
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
        }
    }
}

void json_stream_end(JsonStream *stream)
{
    if (stream->state != STATE_BETWEEN) {
        fail(stream, "JSON parse error, premature EOI");
    }
}
