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

static bool fail_unicode(const char *start, size_t len, GError **errp)
{
    g_autofree char *text = g_utf8_make_valid(start, strnlen(start, len));

    return tm_error_set(errp, "JSON parse error, %s is not a valid Unicode character", text);
}

/* Reads \uXXXX, or two of them that make one character, at t->pos. NUL cannot stand in a C string.
 */
static bool read_unicode(JsonText *t, GString *out, GError **errp)
{
    const char *start = t->pos;
    int unit = hex4(start + 2);
    gunichar c = unit;

    t->pos += 6;
    if (unit <= 0 || is_surrogate(unit, 0xdc00)) {
        return fail_unicode(start, 6, errp);
    }
    if (is_surrogate(unit, 0xd800)) {
        int low = t->pos[0] == '\\' && t->pos[1] == 'u' ? hex4(t->pos + 2) : -1;
        if (low < 0 || !is_surrogate(low, 0xdc00)) {
            return fail_unicode(start, 6, errp);
        }
        c = 0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff);
        t->pos += 6;
    }
    g_string_append_unichar(out, c);
    return true;
}

static bool read_escape(JsonText *t, GString *out, GError **errp)
{
    static const char letters[] = "\"'\\/bfnrt";
    static const char meanings[] = "\"'\\/\b\f\n\r\t";
    const char *found;

    if (t->pos[1] == 'u') {
        return read_unicode(t, out, errp);
    }
    found = t->pos[1] ? strchr(letters, t->pos[1]) : NULL;
    if (!found) {
        json_text_fail("invalid escape sequence in string", errp);
        return false;
    }
    g_string_append_c(out, meanings[found - letters]);
    t->pos += 2;
    return true;
}

/* The closing quote is not there: at the end of the text or at a control character. */
static GString *fail_unfinished(const JsonText *t, const char *start, GError **errp)
{
    g_autofree char *text = NULL;

    if (t->pos == t->end) {
        return json_text_fail("premature EOI", errp);
    }
    text = g_utf8_make_valid(start, t->pos + 1 - start);
    tm_error_set(errp, "JSON parse error, stray '%s'", text);
    return NULL;
}

GString *json_text_read_string(JsonText *t, GError **errp)
{
    const char *start = t->pos;
    char quote = *t->pos++;
    g_autoptr(GString) out = g_string_new(NULL);

    while (*t->pos != quote) {
        if ((unsigned char)*t->pos < ' ') {
            return fail_unfinished(t, start, errp);
        }
        if (*t->pos == '\\') {
            if (!read_escape(t, out, errp)) {
                return NULL;
            }
        } else {
            g_string_append_c(out, *t->pos++);
        }
    }
    t->pos++;
    if (!g_utf8_validate(out->str, out->len, NULL)) {
        return json_text_fail("invalid UTF-8 sequence in string", errp);
    }
    return g_steal_pointer(&out);
}
