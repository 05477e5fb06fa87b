/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON read as a stream: bytes in, whole values out.
 *
 * A small state machine finds where a value ends (it knows strings, escapes and nesting);
 * json_text_parse() reads the value.  What is broken is reported and left out, and reading goes on
 * behind it: after a byte that can stand nowhere (0xff, which clients send to synchronise, or a
 * control byte) everything unfinished is dropped, and what comes up to the next place where a value
 * may begin is skipped.
 */
#ifndef MONITOR_JSON_STREAM_H
#define MONITOR_JSON_STREAM_H

#include <jansson.h>
#include <stddef.h>

#define JSON_STREAM_MAX_DEPTH 1024 /* json_text_parse()'s limit */
#define JSON_STREAM_MAX_BYTES (64u << 20)
#define JSON_STREAM_MAX_TOKENS (2u << 20) /* values take far more memory than their text */

typedef struct JsonStream JsonStream;

/* Either a value (ownership passes) with its text (borrowed), or, with value NULL, an error. */
typedef void JsonStreamFn(void *opaque, json_t *value, const char *text);

JsonStream *json_stream_new(JsonStreamFn *fn, void *opaque);
void json_stream_free(JsonStream *stream);

/* Takes the next bytes; calls fn for each value or error that they complete. */
void json_stream_feed(JsonStream *stream, const char *data, size_t len);

/* The end of the input: what is unfinished is an error. */
void json_stream_end(JsonStream *stream);

#endif
