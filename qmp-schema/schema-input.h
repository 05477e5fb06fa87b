/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the generated types (qmp-schema/qmp-types.h) share, and how they follow from the schema.
 *
 * For each struct, union and alternate T of the schema:
 *   T_free(value)            NULL is fine.
 *   T_copy(value)            deep; NULL gives NULL.
 *   T_parse(json, in, errp)  a new T, or NULL and an error in QMP's words; unknown members are
 * errors. A NULL @json is read as an empty object. T_to_json(value)         a new reference.
 *
 * Members: '-' becomes '_', and what C already uses gets the prefix q_ (q_errno, u.q_unix). An
 * optional scalar m has a flag `has_m` (without the q_); an optional pointer is NULL when absent.
 * Lists are a GPtrArray that owns its elements, or a GArray for scalars. A flat union holds the
 * branch chosen by its discriminator in `u.BRANCH` by value (no member for a branch without
 * members); an alternate has `kind` and `u`. A command's or event's anonymous data is a struct
 * named <CamelName>Args or <CamelName>Event.
 */
#ifndef QMP_SCHEMA_SCHEMA_INPUT_H
#define QMP_SCHEMA_SCHEMA_INPUT_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum SchemaInputMode {
    SCHEMA_INPUT_STRICT, /* QMP: each value has the JSON type that the schema asks for */
    SCHEMA_INPUT_KEYVAL, /* command line: every scalar is a string, as keyval_parse() makes them */
} SchemaInputMode;

/* How T_parse() reads; NULL stands for SCHEMA_INPUT_STRICT. */
typedef struct SchemaInput {
    SchemaInputMode mode;
} SchemaInput;

/* The names of an enum's values, indexed by value; every generated enum E has one, E_lookup. */
typedef struct SchemaEnum {
    const char *const *names;
    int count;
} SchemaEnum;

/* @value's name; the program ends when it is out of range. */
const char *schema_enum_name(const SchemaEnum *lookup, int value);

/* The value called @name, or -1 with an error. */
int schema_enum_parse(const SchemaEnum *lookup, const char *name, GError **errp);

/* The value called @name, or -1. */
int schema_enum_find(const SchemaEnum *lookup, const char *name);

#endif
