/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Strings of JSON, in either kind of quotes. */
#include <string.h>

#include "qmp-schema/json-text-internal.h"
#include "util/error.h"

/* Four hexadecimal digits at @text, or -1. */
static int hex4(const char *text)
{
    int value = 0;

    for (int i = 0; i < 4; i++) {
        if (!g_ascii_isxdigit(text[i])) {
            return -1;
        }
        value = value * 16 + g_ascii_xdigit_value(text[i]);
    }
    return value;
}

static bool is_surrogate(int unit, int first)
{
    return (unit & 0xfc00) == first;
}

/* The \uXXXX at @start is bad; the message shows no more than what is left of the string. */
static bool fail_unicode(const char *start, const char *close, GError **errp)
{
    g_autofree char *text = g_utf8_make_valid(start, MIN(6, close + 1 - start));

    return tm_error_set(errp, "JSON parse error, %s is not a valid Unicode character", text);
}

/* Reads \uXXXX, or two of them that make one character, at *p. NUL cannot stand in a C string. */
static bool read_unicode(const char **p, const char *close, GString *out, GError **errp)
{
    const char *start = *p;
    int unit = hex4(start + 2);
    gunichar c = unit;

    if (unit <= 0 || is_surrogate(unit, 0xdc00)) {
        return fail_unicode(start, close, errp);
    }
    *p += 6;
    if (is_surrogate(unit, 0xd800)) {
        int low = (*p)[0] == '\\' && (*p)[1] == 'u' ? hex4(*p + 2) : -1;
        if (low < 0 || !is_surrogate(low, 0xdc00)) {
            return fail_unicode(start, close, errp);
        }
        c = 0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff);
        *p += 6;
    }
    g_string_append_unichar(out, c);
    return true;
}

static bool read_escape(const char **p, const char *close, GString *out, GError **errp)
{
    static const char letters[] = "\"'\\/bfnrt";
    static const char meanings[] = "\"'\\/\b\f\n\r\t";
    char letter = (*p)[1];
    const char *found = strchr(letters, letter);

    if (letter == 'u') {
        return read_unicode(p, close, out, errp);
    }
    if (!found) {
        json_text_fail("invalid escape sequence in string", errp);
        return false;
    }
    g_string_append_c(out, meanings[found - letters]);
    *p += 2;
    return true;
}

/* The closing quote of the string that starts at t->pos, or NULL with an error when it has none. */
static const char *find_close(const JsonText *t, GError **errp)
{
    const char *p = t->pos + 1;
    g_autofree char *text = NULL;

    while (*p != *t->pos && (unsigned char)*p >= ' ') {
        p += *p == '\\' && (unsigned char)p[1] >= ' ' ? 2 : 1;
    }
    if (*p == *t->pos) {
        return p;
    }
    text = g_utf8_make_valid(t->pos, p - t->pos + (p < t->end));
    tm_error_set(errp, "JSON parse error, stray '%s'", text);
    return NULL;
}

GString *json_text_read_string(JsonText *t, GError **errp)
{
    const char *close = find_close(t, errp);
    const char *p = t->pos + 1;
    g_autoptr(GString) out = NULL;

    if (!close) {
        return NULL;
    }
    t->pos = close + 1;
    out = g_string_sized_new(close - p);
    while (p < close) {
        if (*p != '\\') {
            g_string_append_c(out, *p++);
        } else if (!read_escape(&p, close, out, errp)) {
            return NULL;
        }
    }
    if (!g_utf8_validate(out->str, out->len, NULL)) {
        return json_text_fail("invalid UTF-8 sequence in string", errp);
    }
    return g_steal_pointer(&out);
}
