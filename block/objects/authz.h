/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may come in: a name, rules, or rules from a file. Loop 0. */
#ifndef BLOCK_OBJECTS_AUTHZ_H
#define BLOCK_OBJECTS_AUTHZ_H

#include "block/objects/user-object.h"

typedef struct Authz Authz;

Authz *authz_new_simple(const AuthZSimpleProperties *options);
Authz *authz_new_list(const AuthZListProperties *options);
/* Reads the file; NULL with @errp set where that fails. */
Authz *authz_new_file(const AuthZListFileProperties *options, GError **errp);
void authz_free(void *authz); /* GDestroyNotify of an object */

/* The object of that id, held; "Cannot find QAuthZ object ID …" */
UserObject *authz_hold(const char *id, GError **errp);

/* May @identity come in?  (May read the file again.) */
bool authz_allows(Authz *authz, const char *identity);

#endif
