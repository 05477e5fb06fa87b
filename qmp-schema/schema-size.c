/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sizes in bytes on the command line: "64k", "1.5G", "0x1000". */
#include "qmp-schema/schema-read.h"

#include <errno.h>
#include <string.h>

/* The power of two that a suffix stands for, or -1; no suffix is bytes. */
static int suffix_shift(const char *suffix)
{
    static const char letters[] = "BKMGTPE";
    const char *found;

    if (!suffix[0]) {
        return 0;
    }
    if (suffix[1]) {
        return -1;
    }
    found = strchr(letters, g_ascii_toupper(suffix[0]));
    return found ? 10 * (int)(found - letters) : -1;
}

/* The fraction at @text ("." and digits, perhaps none); @end is set behind it. */
static double fraction_at(const char *text, const char **end)
{
    size_t len = 1 + strspn(text + 1, G_CSET_DIGITS);
    g_autofree char *fraction = g_strdup_printf("0%.*s0", (int)len, text);

    *end = text + len;
    return g_ascii_strtod(fraction, NULL);
}

/* Whole digits are exact; a fraction must be of a unit, and is rounded to a byte. */
static bool scale(uint64_t whole, double fraction, int shift, uint64_t *out)
{
    if (shift < 0 || whole > UINT64_MAX >> shift || (fraction > 0 && shift == 0)) {
        return false;
    }
    *out = (whole << shift) + (uint64_t)(fraction * (double)((uint64_t)1 << shift) + 0.5);
    return *out >= whole << shift;
}

/* A hexadecimal number takes neither fraction nor suffix. */
static bool parse_size(const char *text, uint64_t *out)
{
    bool hex = g_ascii_strncasecmp(text, "0x", 2) == 0;
    double fraction = 0;
    const char *end;
    uint64_t whole;

    if (!g_ascii_isdigit(text[0]) && !(text[0] == '.' && g_ascii_isdigit(text[1]))) {
        return false;
    }
    errno = 0;
    whole = g_ascii_strtoull(text, (char **)&end, hex ? 16 : 10);
    if (errno || (hex && *end)) {
        return false;
    }
    if (*end == '.') {
        fraction = fraction_at(end, &end);
    }
    return scale(whole, fraction, suffix_shift(end), out);
}

bool schema_read_size(const SchemaFrame *at, const char *name, const json_t *v, uint64_t *out,
                      GError **errp)
{
    const char *text;

    if (!at->in || at->in->mode != SCHEMA_INPUT_KEYVAL) {
        return schema_read_uint64(at, name, v, out, errp);
    }
    text = schema_keyval_text(at, name, v, errp);
    if (text && !parse_size(text, out)) {
        return schema_fail_at(at, name, errp, "Parameter '%s' expects size");
    }
    return text != NULL;
}
