/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of enum values: looking them up both ways. */
#include "qmp-schema/schema-input.h"

#include "util/error.h"

const char *schema_enum_name(const SchemaEnum *lookup, int value)
{
    g_assert(value >= 0 && value < lookup->count);
    return lookup->names[value];
}

int schema_enum_find(const SchemaEnum *lookup, const char *name)
{
    for (int i = 0; i < lookup->count; i++) {
        if (g_str_equal(lookup->names[i], name)) {
            return i;
        }
    }
    return -1;
}

int schema_enum_parse(const SchemaEnum *lookup, const char *name, GError **errp)
{
    int found = schema_enum_find(lookup, name);

    if (found < 0) {
        tm_error_set(errp, "invalid parameter value: %s", name);
    }
    return found;
}
