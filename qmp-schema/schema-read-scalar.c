/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The scalars of the generated parsers, in both modes.
 *
 * Some errors name the member by its path and some only by its last name, "null" in a list: which
 * does what was taken from qemu-storage-daemon 10.0, and tests/unit/test-schema-errors.c holds the
 * texts.
 */
#include "qmp-schema/schema-read.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "util/error.h"

static bool is_keyval(const SchemaFrame *at)
{
    return at->in && at->in->mode == SCHEMA_INPUT_KEYVAL;
}

const char *schema_keyval_text(const SchemaFrame *at, const char *name, const json_t *v,
                               GError **errp)
{
    if (!json_is_string(v)) {
        schema_fail_at(at, name, errp, "Parameters '%s.*' are unexpected");
        return NULL;
    }
    return json_string_value(v);
}

void *schema_read_string(const SchemaFrame *at, const char *name, const json_t *v, GError **errp)
{
    if (is_keyval(at)) {
        return g_strdup(schema_keyval_text(at, name, v, errp));
    }
    if (!json_is_string(v)) {
        schema_fail_at(at, name, errp, "Invalid parameter type for '%s', expected: string");
        return NULL;
    }
    return g_strdup(json_string_value(v));
}

static int find_text(const char *const *texts, const char *text)
{
    for (int i = 0; texts[i]; i++) {
        if (g_str_equal(texts[i], text)) {
            return i;
        }
    }
    return -1;
}

static bool keyval_bool(const SchemaFrame *at, const char *name, const json_t *v, bool *out,
                        GError **errp)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true", "n", "y", NULL};
    const char *text = schema_keyval_text(at, name, v, errp);
    int found = text ? find_text(words, text) : -1;

    if (text && found < 0) {
        schema_fail_at(at, name, errp, "Parameter '%s' expects 'on' or 'off'");
    }
    *out = found & 1;
    return found >= 0;
}

bool schema_read_bool(const SchemaFrame *at, const char *name, const json_t *v, bool *out,
                      GError **errp)
{
    if (is_keyval(at)) {
        return keyval_bool(at, name, v, out, errp);
    }
    if (!json_is_boolean(v)) {
        return schema_fail_at(at, name, errp, "Invalid parameter type for '%s', expected: boolean");
    }
    *out = json_is_true(v);
    return true;
}

/* Like strtoll() with base 0, but the whole text must be the number and fit. */
static bool text_to_int64(const char *text, int64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoll(text, &end, 0);
    return !errno && end != text && !*end;
}

/* The same unsigned; as strtoull() a negative number wraps around. */
static bool text_to_uint64(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 0);
    return !errno && end != text && !*end;
}

static bool keyval_number(const SchemaFrame *at, const char *name, const json_t *v, double *out,
                          GError **errp)
{
    const char *text = schema_keyval_text(at, name, v, errp);
    char *end;

    if (!text) {
        return false;
    }
    *out = g_ascii_strtod(text, &end);
    if (end == text || *end || !isfinite(*out)) {
        return schema_fail_at(at, name, errp, "Invalid parameter type for '%s', expected: number");
    }
    return true;
}

bool schema_read_number(const SchemaFrame *at, const char *name, const json_t *v, double *out,
                        GError **errp)
{
    if (is_keyval(at)) {
        return keyval_number(at, name, v, out, errp);
    }
    if (!json_is_number(v)) {
        return schema_fail_at(at, name, errp, "Invalid parameter type for '%s', expected: number");
    }
    *out = json_number_value(v);
    return true;
}

bool schema_read_int64(const SchemaFrame *at, const char *name, const json_t *v, int64_t *out,
                       GError **errp)
{
    if (is_keyval(at)) {
        const char *text = schema_keyval_text(at, name, v, errp);
        if (text && !text_to_int64(text, out)) {
            return schema_fail_at(at, name, errp, "Parameter '%s' expects integer");
        }
        return text != NULL;
    }
    if (!json_is_integer(v)) {
        return schema_fail_at(at, name, errp, "Invalid parameter type for '%s', expected: integer");
    }
    *out = json_integer_value(v);
    return true;
}

/* A negative number is taken as its 64-bit complement, as QEMU does for old clients. */
bool schema_read_uint64(const SchemaFrame *at, const char *name, const json_t *v, uint64_t *out,
                        GError **errp)
{
    if (is_keyval(at)) {
        const char *text = schema_keyval_text(at, name, v, errp);
        if (text && !text_to_uint64(text, out)) {
            return schema_fail_at(at, name, errp, "Parameter '%s' expects integer");
        }
        return text != NULL;
    }
    if (!json_is_integer(v)) {
        return schema_fail_at(at, name, errp, "Parameter '%s' expects uint64");
    }
    *out = json_integer_value(v);
    return true;
}

static bool fail_range(const char *name, const char *type, GError **errp)
{
    return tm_error_set(errp, "Parameter '%s' expects %s", name ? name : "null", type);
}

bool schema_read_int32(const SchemaFrame *at, const char *name, const json_t *v, int32_t *out,
                       GError **errp)
{
    int64_t wide;

    if (!schema_read_int64(at, name, v, &wide, errp)) {
        return false;
    }
    *out = wide;
    return *out == wide || fail_range(name, "int32_t", errp);
}

bool schema_read_uint32(const SchemaFrame *at, const char *name, const json_t *v, uint32_t *out,
                        GError **errp)
{
    uint64_t wide;

    if (!schema_read_uint64(at, name, v, &wide, errp)) {
        return false;
    }
    *out = wide;
    return *out == wide || fail_range(name, "uint32_t", errp);
}

bool schema_read_uint16(const SchemaFrame *at, const char *name, const json_t *v, uint16_t *out,
                        GError **errp)
{
    uint64_t wide;

    if (!schema_read_uint64(at, name, v, &wide, errp)) {
        return false;
    }
    *out = wide;
    return *out == wide || fail_range(name, "uint16_t", errp);
}

int schema_read_enum(const SchemaFrame *at, const char *name, const json_t *v,
                     const SchemaEnum *lookup, GError **errp)
{
    g_autofree char *text = schema_read_string(at, name, v, errp);
    int found;

    if (!text) {
        return -1;
    }
    found = schema_enum_find(lookup, text);
    if (found < 0) {
        tm_error_set(errp, "Parameter '%s' does not accept value '%s'", name ? name : "null", text);
    }
    return found;
}
