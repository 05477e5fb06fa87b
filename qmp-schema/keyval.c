/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * key=value,… to a tree of JSON. It is built in two steps: first every inner node is an object,
 * then those whose keys are numbers become lists (keyval-list.c).
 */
#include "qmp-schema/keyval.h"

#include <string.h>

#include "qmp-schema/json-text.h"
#include "qmp-schema/keyval-internal.h"
#include "util/error.h"

#define MAX_FRAGMENT 127

/* A key: the text, how much of it is the key, and how much has been walked so far. */
typedef struct Key {
    const char *text;
    size_t len;
    size_t pos;
} Key;

/* The length of the name at @text: a letter first, perhaps behind a vendor's "__DOMAIN_"; 0 if
 * none. */
static size_t name_length(const char *text)
{
    const char *p = text;

    if (g_str_has_prefix(p, "__")) {
        p += 2;
        p += strspn(p, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-.");
        if (*p++ != '_') {
            return 0;
        }
    }
    if (!g_ascii_isalpha(*p)) {
        return 0;
    }
    return p - text + strspn(p, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_");
}

/* Takes the next fragment of @key; a new string, or NULL with an error. */
static char *next_fragment(Key *key, GError **errp)
{
    const char *start = key->text + key->pos;
    bool first = key->pos == 0;
    size_t len = first ? 0 : strspn(start, G_CSET_DIGITS);
    size_t end;

    len = len ? len : name_length(start);
    end = key->pos + len;
    if (!len || end > key->len || (end < key->len && key->text[end] != '.')) {
        tm_error_set(errp, "Invalid parameter '%.*s'", (int)key->len, key->text);
        return NULL;
    }
    if (len > MAX_FRAGMENT) {
        tm_error_set(errp, "Parameter%s '%.*s' is too long",
                     first && end == key->len ? "" : " fragment", (int)len, start);
        return NULL;
    }
    key->pos = end;
    return g_strndup(start, len);
}

static bool fail_inconsistent(const Key *key, GError **errp)
{
    return tm_error_set(errp, "Parameters '%.*s.*' used inconsistently", (int)key->pos, key->text);
}

/* The object @name inside @parent, made when it is missing. */
static json_t *enter(json_t *parent, const char *name, const Key *key, GError **errp)
{
    json_t *child = json_object_get(parent, name);

    if (!child) {
        child = json_object();
        json_object_set_new(parent, name, child);
    }
    if (!json_is_object(child)) {
        fail_inconsistent(key, errp);
        return NULL;
    }
    return child;
}

static bool put_value(json_t *parent, const char *name, const Key *key, const GString *value,
                      GError **errp)
{
    if (json_is_object(json_object_get(parent, name))) {
        return fail_inconsistent(key, errp);
    }
    json_object_set_new(parent, name, json_stringn_nocheck(value->str, value->len));
    return true;
}

/* Stores @value in @root at the place that @key tells. */
static bool put(json_t *root, Key *key, const GString *value, GError **errp)
{
    json_t *at = root;
    g_autofree char *name = next_fragment(key, errp);

    while (name && key->pos < key->len) {
        at = enter(at, name, key, errp);
        if (!at) {
            return false;
        }
        key->pos++;
        g_free(name);
        name = next_fragment(key, errp);
    }
    return name && put_value(at, name, key, value, errp);
}

/* Reads a value up to a ',' that is not doubled, or the end; returns what follows. */
const char *keyval_take_value(const char *text, GString *value)
{
    for (; *text; text++) {
        if (*text == ',' && *++text != ',') {
            break;
        }
        g_string_append_c(value, *text);
    }
    return text;
}

/* Checks the syntax of the key alone, for errors in the key come before one of a missing '='. */
static bool check_key(const char *text, size_t len, GError **errp)
{
    Key key = {.text = text, .len = len};

    do {
        g_autofree char *fragment = next_fragment(&key, errp);
        if (!fragment) {
            return false;
        }
    } while (key.pos < key.len && key.pos++ < key.len);
    return true;
}

static const char *skip_comma(const char *text)
{
    return *text == ',' ? text + 1 : text;
}

/* Parses one key=value; returns what follows, or NULL with an error. */
static const char *parse_one(json_t *root, const char *text, const char *implied_key, bool *help,
                             GError **errp)
{
    size_t len = strcspn(text, "=,");
    g_autoptr(GString) value = g_string_new(NULL);
    Key key = {.text = text, .len = len};

    if (text[len] == '=') {
        const char *next = keyval_take_value(text + len + 1, value);
        return put(root, &key, value, errp) ? next : NULL;
    }
    if ((len == 4 && strncmp(text, "help", 4) == 0) || (len == 1 && *text == '?')) {
        if (!help) {
            tm_error_set(errp, "Help is not available for this option");
            return NULL;
        }
        *help = true;
        return skip_comma(text + len);
    }
    if (implied_key && len) {
        key = (Key){.text = implied_key, .len = strlen(implied_key)};
        g_string_append_len(value, text, len);
        return put(root, &key, value, errp) ? skip_comma(text + len) : NULL;
    }
    if (check_key(text, len, errp)) {
        tm_error_set(errp, "Expected '=' after parameter '%.*s'", (int)len, text);
    }
    return NULL;
}

json_t *keyval_parse(const char *text, const char *implied_key, bool *help, GError **errp)
{
    json_t *root = json_object();

    while (text && *text) {
        text = parse_one(root, text, implied_key, help, errp);
        implied_key = NULL;
    }
    if (!text || !keyval_make_lists(root, errp)) {
        json_decref(root);
        return NULL;
    }
    return root;
}

json_t *keyval_or_json_parse(const char *text, const char *implied_key, SchemaInput *in, bool *help,
                             GError **errp)
{
    if (text[0] != '{') {
        in->mode = SCHEMA_INPUT_KEYVAL;
        return keyval_parse(text, implied_key, help, errp);
    }
    in->mode = SCHEMA_INPUT_STRICT;
    return json_text_parse(text, strlen(text), errp);
}
