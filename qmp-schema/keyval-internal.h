/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the option parser share. */
#ifndef QMP_SCHEMA_KEYVAL_INTERNAL_H
#define QMP_SCHEMA_KEYVAL_INTERNAL_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

/* Appends to @value what stands before a single ',' or the end; returns what follows. */
const char *keyval_take_value(const char *text, GString *value);

/* Replaces, inside the object @root, each object whose keys are indexes by a list. */
bool keyval_make_lists(json_t *root, GError **errp);

#endif
