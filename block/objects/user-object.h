/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Objects that users make, of all types, by id.  An object is held by what uses it, and cannot be
 * deleted while it is.  Loop 0.
 */
#ifndef BLOCK_OBJECTS_USER_OBJECT_H
#define BLOCK_OBJECTS_USER_OBJECT_H

#include "qmp-schema/qmp-types.h"

typedef struct UserObject {
    char *id;
    ObjectType type;
    unsigned users;
    void *state; /* a Secret, TlsCreds, Authz or Loop */
    GDestroyNotify free;
} UserObject;

/* May an object with that id be added? */
bool user_object_is_new(const char *id, GError **errp);

/* Takes over @state.  The id is new. */
void user_object_add(const char *id, ObjectType type, void *state, GDestroyNotify free);

/* NULL where there is none. */
UserObject *user_object_find(const char *id);

/* "object '%s' not found", "object '%s' is in use, can not be deleted". */
bool user_object_del(const char *id, GError **errp);

static inline UserObject *user_object_hold(UserObject *object)
{
    object->users++;
    return object;
}

static inline void user_object_release(UserObject *object)
{
    g_assert(object->users);
    object->users--;
}

/* Deletes all, at the end. Nobody may use any. */
void user_objects_free(void);

#endif
