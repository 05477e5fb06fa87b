/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sizes in bytes on the command line: "64k", "1.5G", "0x1000". */
#include "qmp-schema/schema-read.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
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

/* Digits with a fraction: the whole part is exact, the fraction is rounded to a byte. */
static bool fractional_size(uint64_t whole, const char *text, uint64_t *out)
{
    char *end;
    double fraction = g_ascii_strtod(text, &end);
    int shift = suffix_shift(end);

    if (end == text || shift <= 0 || whole > UINT64_MAX >> shift) {
        return false;
    }
    *out = (whole << shift) + (uint64_t)(fraction * (double)((uint64_t)1 << shift) + 0.5);
    return *out >= whole << shift;
}

static bool parse_size(const char *text, uint64_t *out)
{
    bool hex = g_ascii_strncasecmp(text, "0x", 2) == 0;
    char *end;
    int shift;

    if (!g_ascii_isdigit(text[0]) && text[0] != '.') {
        return false;
    }
    errno = 0;
    uint64_t whole = g_ascii_strtoull(text, &end, hex ? 16 : 10);
    if (errno) {
        return false;
    }
    if (!hex && *end == '.') {
        return fractional_size(whole, end, out);
    }
    shift = hex && *end ? -1 : suffix_shift(end);
    if (end == text || shift < 0 || whole > UINT64_MAX >> shift) {
        return false;
    }
    *out = whole << shift;
    return true;
}

bool schema_read_size(const SchemaFrame *at, const char *name, const json_t *v, uint64_t *out, GError **errp)
{
    const char *text;

    if (!at->in || at->in->mode != SCHEMA_INPUT_KEYVAL) {
        return schema_read_uint64(at, name, v, out, errp);
    }
    text = schema_keyval_text(at, name, v, errp);
    if (text && !parse_size(text, out)) {
        return schema_fail_at(at, name, errp, "Parameter '%s' expects a size");
    }
    return text != NULL;
}
