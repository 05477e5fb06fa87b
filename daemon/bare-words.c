/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The older form of key=value options; see bare-words.h. */
#include "daemon/bare-words.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

/* Up to the ',' that ends it: one that is doubled belongs to a value. */
static size_t part_length(const char *text)
{
    const char *p = text;

    while (*p && (p[0] != ',' || p[1] == ',')) {
        p += p[0] == ',' ? 2 : 1;
    }
    return (size_t)(p - text);
}

static void add_switch(GString *out, const char *word, size_t len)
{
    bool off = len > 2 && strncmp(word, "no", 2) == 0 && strncmp(word, "nodelay", len) != 0;

    g_string_append_len(out, off ? word + 2 : word, (gssize)(off ? len - 2 : len));
    g_string_append(out, off ? "=off" : "=on");
}

char *bare_words_to_keyval(const char *text, const char *implied_key)
{
    GString *out = g_string_new(NULL);
    bool first = true;

    while (*text) {
        size_t len = part_length(text);
        bool plain = memchr(text, '=', len) || (first && implied_key) || len == 0;

        if (plain) {
            g_string_append_len(out, text, (gssize)len);
        } else {
            add_switch(out, text, len);
        }
        text += len;
        if (*text == ',') {
            g_string_append_c(out, *text++);
        }
        first = false;
    }
    return g_string_free(out, false);
}
