/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The primitives of the generated builders. Each returns a new reference. */
#ifndef QMP_SCHEMA_SCHEMA_BUILD_H
#define QMP_SCHEMA_SCHEMA_BUILD_H

#include "qmp-schema/schema-input.h"

/* @string as JSON; bytes that are not UTF-8 (a file name may hold such) are replaced by U+FFFD. */
json_t *schema_json_string(const char *string);

/* A list of what @build makes of each element; NULL is an empty list. */
json_t *schema_json_list(const GPtrArray *list, json_t *(*build)(const void *element));

/* A list of the names of enum values (GArray of int). */
json_t *schema_json_enum_list(const GArray *list, const SchemaEnum *lookup);

#endif
