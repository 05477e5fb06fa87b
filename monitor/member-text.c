/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers as they were written; see member-text.h. */
#include "monitor/member-text.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

/* Behind the string that begins at @p. */
static const char *skip_string(const char *p)
{
    char quote = *p++;

    while (*p && *p != quote) {
        p += p[0] == '\\' && p[1] ? 2 : 1;
    }
    return *p ? p + 1 : p;
}

static bool is_key(const char *string, const char *end, const char *key)
{
    size_t len = strlen(key);

    return (size_t)(end - string) == len + 2 && strncmp(string + 1, key, len) == 0;
}

char *member_number_text(const char *text, const char *key)
{
    bool found = false; /* the last string was the key */
    int depth = 0;

    while (*text) {
        if (*text == '"' || *text == '\'') {
            const char *end = skip_string(text);

            found = depth == 1 && is_key(text, end, key);
            text = end;
            continue;
        }
        depth += *text == '{' || *text == '[' ? 1 : *text == '}' || *text == ']' ? -1 : 0;
        if (*text++ == ':' && found && depth == 1) {
            text += strspn(text, " \t\r\n");
            return g_strndup(text, strspn(text, "+-.eE0123456789"));
        }
    }
    return NULL;
}
