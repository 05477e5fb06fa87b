/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The primitives of the generated builders. */
#include "qmp-schema/schema-build.h"

json_t *schema_json_string(const char *string)
{
    g_autofree char *valid = NULL;

    if (!string) {
        return json_string("");
    }
    if (g_utf8_validate(string, -1, NULL)) {
        return json_string(string);
    }
    valid = g_utf8_make_valid(string, -1);
    return json_string(valid);
}

json_t *schema_json_list(const GPtrArray *list, json_t *(*build)(const void *element))
{
    json_t *array = json_array();

    for (guint i = 0; list && i < list->len; i++) {
        json_array_append_new(array, build(list->pdata[i]));
    }
    return array;
}

json_t *schema_json_enum_list(const GArray *list, const SchemaEnum *lookup)
{
    json_t *array = json_array();

    for (guint i = 0; list && i < list->len; i++) {
        json_array_append_new(array,
                              json_string(schema_enum_name(lookup, g_array_index(list, int, i))));
    }
    return array;
}
