/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Secrets: passwords and keys, given in clear, as base64, or encrypted by another secret. */
#ifndef BLOCK_OBJECTS_SECRET_H
#define BLOCK_OBJECTS_SECRET_H

#include "qmp-schema/qmp-types.h"

typedef struct Secret Secret;

/* NULL with @errp set, in QEMU's words.  Loop 0. */
Secret *secret_new(const SecretProperties *options, GError **errp);

/* GDestroyNotify of an object: wipes it. */
void secret_free(void *secret);

/* The text of the secret @id; not owned. */
const char *secret_find_text(const char *id, GError **errp);

#endif
