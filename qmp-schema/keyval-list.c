/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The second step of the option parser: objects whose keys are all numbers become lists. */
#include "qmp-schema/keyval-internal.h"

#include <limits.h>
#include <stdlib.h>

#include "util/error.h"

/* The index that @key stands for (what is too large gives a large one), or -1 for a name. */
static long key_index(const char *key)
{
    return g_ascii_isdigit(key[0]) ? strtol(key, NULL, 10) : -1;
}

/* Makes a list of @object's values; there must be one for each index up to the largest. */
static json_t *list_of(const json_t *object, const char *path, GError **errp)
{
    size_t size = json_object_size(object);
    g_autofree json_t **slots = g_new0(json_t *, size + 1);
    const char *key;
    json_t *value;
    json_t *list;
    long last = -1;

    json_object_foreach((json_t *)object, key, value)
    {
        long index = key_index(key);
        last = MAX(last, index);
        if ((size_t)index < size) {
            slots[index] = value;
        }
    }
    list = json_array();
    for (long i = 0; i <= last; i++) {
        /* slots[size] is never filled: an index beyond the size ends here, for then one is missing
         */
        if (!slots[i]) {
            tm_error_set(errp, "Parameter '%s.%ld' missing", path, i);
            json_decref(list);
            return NULL;
        }
        json_array_append(list, slots[i]);
    }
    return list;
}

static json_t *convert(json_t *object, const char *path, GError **errp);

/* Converts the objects inside @object; counts the keys that are indexes. */
static bool convert_children(json_t *object, const char *path, size_t *indexes, GError **errp)
{
    const char *key;
    json_t *child;

    *indexes = 0;
    json_object_foreach(object, key, child)
    {
        g_autofree char *child_path = g_strdup_printf("%s%s%s", path, *path ? "." : "", key);
        json_t *converted =
            json_is_object(child) ? convert(child, child_path, errp) : json_incref(child);
        if (!converted) {
            return false;
        }
        /* replaces the value of a key that exists: the iteration stays valid */
        json_object_set_new(object, key, converted);
        *indexes += key_index(key) >= 0;
    }
    return true;
}

/* What is to stand in place of @object (a new reference), or NULL with an error. */
static json_t *convert(json_t *object, const char *path, GError **errp)
{
    size_t indexes;

    if (!convert_children(object, path, &indexes, errp)) {
        return NULL;
    }
    if (!indexes) {
        return json_incref(object);
    }
    if (indexes < json_object_size(object)) {
        tm_error_set(errp, "Parameters '%s.*' used inconsistently", path);
        return NULL;
    }
    return list_of(object, path, errp);
}

bool keyval_make_lists(json_t *root, GError **errp)
{
    size_t indexes;

    return convert_children(root, "", &indexes, errp);
}
