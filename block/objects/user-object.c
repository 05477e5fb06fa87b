/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of the objects that users make; see user-object.h. */
#include "block/objects/user-object.h"

#include "util/error.h"

/* id → UserObject. Loop 0. */
static GHashTable *objects;

bool user_object_is_new(const char *id, GError **errp)
{
    return !user_object_find(id) ||
           tm_error_set(errp,
                        "attempt to add duplicate property '%s' to object (type 'container')", id);
}

static void object_free(void *opaque)
{
    UserObject *object = opaque;

    object->free(object->state);
    g_free(object->id);
    g_free(object);
}

void user_object_add(const char *id, ObjectType type, void *state, GDestroyNotify free)
{
    UserObject *object = g_new(UserObject, 1);

    *object = (UserObject){.id = g_strdup(id), .type = type, .state = state, .free = free};
    if (!objects) {
        objects = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, object_free);
    }
    g_hash_table_insert(objects, object->id, object);
}

UserObject *user_object_find(const char *id)
{
    return objects ? g_hash_table_lookup(objects, id) : NULL;
}

bool user_object_del(const char *id, GError **errp)
{
    UserObject *object = user_object_find(id);

    if (!object) {
        return tm_error_set(errp, "object '%s' not found", id);
    }
    if (object->users) {
        return tm_error_set(errp, "object '%s' is in use, can not be deleted", id);
    }
    g_hash_table_remove(objects, id);
    return true;
}

void user_objects_free(void)
{
    g_clear_pointer(&objects, g_hash_table_unref);
}
