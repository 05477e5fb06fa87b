/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON as QEMU reads it: strings may be in single quotes too, where \' stands for the quote. A key
 * that is given twice is an error. An integer beyond 64 bits (signed) becomes a real.
 */
#ifndef QMP_SCHEMA_JSON_TEXT_H
#define QMP_SCHEMA_JSON_TEXT_H

#include <glib.h>
#include <jansson.h>

/* How deep objects and arrays may be inside each other. */
#define JSON_TEXT_MAX_DEPTH 1024

/*
 * Parses @text (@len bytes), which must be one value with nothing but white space around it.
 * Returns a new reference, or NULL with an error in the words of qemu-storage-daemon 10.0.
 */
json_t *json_text_parse(const char *text, size_t len, GError **errp);

#endif
