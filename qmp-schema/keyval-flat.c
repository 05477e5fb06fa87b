/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The older form of options, with flat keys and bare words. */
#include "qmp-schema/keyval.h"

#include <string.h>

#include "qmp-schema/keyval-internal.h"

/* "server" is server=on, "nowait" is wait=off. */
static void put_word(json_t *options, const char *word, GPtrArray *short_forms)
{
    bool off = g_str_has_prefix(word, "no") && word[2];

    /* "nodelay" is an option of its own, and "no" in front of it is no negation */
    off = off && !g_str_equal(word, "nodelay");
    json_object_set_new_nocheck(options, off ? word + 2 : word, json_string(off ? "off" : "on"));
    if (short_forms) {
        g_ptr_array_add(short_forms, g_strdup(word));
    }
}

static const char *parse_one(json_t *options, const char *text, const char *implied_key,
                             GPtrArray *short_forms)
{
    size_t len = strcspn(text, "=,");
    bool has_key = text[len] == '=';
    g_autoptr(GString) value = g_string_new(NULL);
    g_autofree char *word = g_strndup(text, len);

    if (!has_key && !implied_key) {
        put_word(options, word, short_forms);
        return text[len] ? text + len + 1 : text + len;
    }
    text = keyval_take_value(has_key ? text + len + 1 : text, value);
    json_object_set_new_nocheck(options, has_key ? word : implied_key,
                                json_stringn_nocheck(value->str, value->len));
    return text;
}

json_t *keyval_parse_flat(const char *text, const char *implied_key, GPtrArray *short_forms)
{
    json_t *options = json_object();

    while (*text) {
        text = parse_one(options, text, implied_key, short_forms);
        implied_key = NULL;
    }
    return options;
}
