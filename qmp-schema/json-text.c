/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A recursive-descent parser of QEMU's JSON; strings are read in json-string.c. */
#include "qmp-schema/json-text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "qmp-schema/json-text-internal.h"
#include "util/error.h"

static json_t *parse_value(JsonText *t, GError **errp);

void *json_text_fail(const char *what, GError **errp)
{
    tm_error_set(errp, "JSON parse error, %s", what);
    return NULL;
}

static void skip_space(JsonText *t)
{
    while (t->pos < t->end && strchr(" \t\r\n", *t->pos) && *t->pos) {
        t->pos++;
    }
}

/* The next character that is no space, or 0 at the end. */
static char peek(JsonText *t)
{
    skip_space(t);
    return t->pos < t->end ? *t->pos : 0;
}

static json_t *parse_string(JsonText *t, GError **errp)
{
    g_autoptr(GString) string = json_text_read_string(t, errp);

    return string ? json_stringn(string->str, string->len) : NULL;
}

static json_t *parse_keyword(JsonText *t, GError **errp)
{
    const char *start = t->pos;
    g_autofree char *word = NULL;

    while (t->pos < t->end && g_ascii_islower(*t->pos)) {
        t->pos++;
    }
    word = g_strndup(start, t->pos - start);
    if (g_str_equal(word, "null")) {
        return json_null();
    }
    if (g_str_equal(word, "true") || g_str_equal(word, "false")) {
        return json_boolean(word[0] == 't');
    }
    tm_error_set(errp, "JSON parse error, invalid keyword '%s'", word);
    return NULL;
}

static json_t *fail_stray(const char *start, size_t len, GError **errp)
{
    g_autofree char *text = g_utf8_make_valid(start, len);

    tm_error_set(errp, "JSON parse error, stray '%s'", text);
    return NULL;
}

static bool scan_digits(const char **p)
{
    size_t len = strspn(*p, G_CSET_DIGITS);

    *p += len;
    return len > 0;
}

/* Moves @p behind the number there, or to the character that makes it none. */
static bool scan_number(const char **p, bool *integer)
{
    *integer = true;
    *p += **p == '-';
    if (**p == '0') {
        (*p)++;
        if (g_ascii_isdigit(**p)) {
            return false;
        }
    } else if (!scan_digits(p)) {
        return false;
    }
    if (**p == '.') {
        *integer = false;
        (*p)++;
        if (!scan_digits(p)) {
            return false;
        }
    }
    if (**p == 'e' || **p == 'E') {
        *integer = false;
        (*p)++;
        *p += **p == '+' || **p == '-';
        return scan_digits(p);
    }
    return true;
}

static json_t *parse_number(JsonText *t, GError **errp)
{
    const char *start = t->pos;
    bool integer;
    json_t *real;

    if (!scan_number(&t->pos, &integer)) {
        return fail_stray(start, t->pos - start + (t->pos < t->end), errp);
    }
    errno = 0;
    if (integer) {
        long long value = strtoll(start, NULL, 10);
        if (!errno) {
            return json_integer(value);
        }
    }
    real = json_real(g_ascii_strtod(start, NULL));
    return real ? real : json_text_fail("number is too large", errp);
}

/* Reads one "key": value pair into @object. */
static bool parse_pair(JsonText *t, json_t *object, GError **errp)
{
    g_autoptr(GString) key = NULL;
    json_t *value;
    char c = peek(t);

    if (c != '"' && c != '\'') {
        value = parse_value(t, errp);
        if (value) {
            json_decref(value);
            json_text_fail("key is not a string in object", errp);
        }
        return false;
    }
    key = json_text_read_string(t, errp);
    if (!key) {
        return false;
    }
    if (peek(t) != ':') {
        return json_text_fail(t->pos < t->end ? "missing : in object pair" : "premature EOI", errp);
    }
    t->pos++;
    value = parse_value(t, errp);
    if (value && json_object_get(object, key->str)) {
        json_decref(value);
        return json_text_fail("duplicate key", errp);
    }
    return value && json_object_set_new(object, key->str, value) == 0;
}

static bool parse_element(JsonText *t, json_t *array, GError **errp)
{
    json_t *value = parse_value(t, errp);

    return value && json_array_append_new(array, value) == 0;
}

/* Reads what stands between the brackets, and the closing one. */
static bool parse_items(JsonText *t, json_t *into, GError **errp)
{
    bool object = json_is_object(into);
    char close = object ? '}' : ']';

    if (peek(t) == close) {
        t->pos++;
        return true;
    }
    while (object ? parse_pair(t, into, errp) : parse_element(t, into, errp)) {
        char c = peek(t);
        t->pos++;
        if (c == close) {
            return true;
        }
        if (c != ',') {
            return json_text_fail(!c       ? "premature EOI"
                                  : object ? "expected separator in dict"
                                           : "expected separator in list",
                                  errp);
        }
    }
    return false;
}

static json_t *parse_container(JsonText *t, GError **errp)
{
    json_t *container = *t->pos == '{' ? json_object() : json_array();

    t->pos++;
    if (++t->depth > JSON_TEXT_MAX_DEPTH) {
        tm_error_set(errp, "JSON nesting depth limit exceeded");
    } else if (parse_items(t, container, errp)) {
        t->depth--;
        return container;
    }
    json_decref(container);
    return NULL;
}

static json_t *parse_value(JsonText *t, GError **errp)
{
    char c = peek(t);

    if (t->pos == t->end) {
        return json_text_fail("premature EOI", errp);
    }
    if (c == '{' || c == '[') {
        return parse_container(t, errp);
    }
    if (c == '"' || c == '\'') {
        return parse_string(t, errp);
    }
    if (c == '-' || g_ascii_isdigit(c)) {
        return parse_number(t, errp);
    }
    if (g_ascii_islower(c)) {
        return parse_keyword(t, errp);
    }
    if (strchr("}],:", c) && c) {
        return json_text_fail("expecting value", errp);
    }
    return fail_stray(t->pos, 1, errp);
}

json_t *json_text_parse(const char *text, size_t len, GError **errp)
{
    g_autofree char *copy = g_strndup(text, len);
    JsonText t = {.pos = copy, .end = copy + strlen(copy)};
    json_t *value = parse_value(&t, errp);

    skip_space(&t);
    if (value && t.pos < t.end) {
        tm_error_set(errp, "Expecting at most one JSON value");
        g_clear_pointer(&value, json_decref);
    }
    return value;
}
