/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the JSON parser share. */
#ifndef QMP_SCHEMA_JSON_TEXT_INTERNAL_H
#define QMP_SCHEMA_JSON_TEXT_INTERNAL_H

#include <glib.h>

typedef struct JsonText {
    const char *pos;
    const char *end; /* a NUL stands here */
    unsigned depth;
} JsonText;

/* Sets the error "JSON parse error, @what"; returns NULL. */
void *json_text_fail(const char *what, GError **errp);

/* Reads the string whose opening quote is at t->pos; NULL with an error. */
GString *json_text_read_string(JsonText *t, GError **errp);

#endif
