/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Credentials of TLS as objects that users make. Loop 0. */
#ifndef BLOCK_OBJECTS_TLS_OBJECT_H
#define BLOCK_OBJECTS_TLS_OBJECT_H

#include "block/objects/user-object.h"
#include "io/tls-creds.h"

/* Load them; NULL with @errp set, in QEMU's words. */
TlsCreds *tls_object_new_x509(const TlsCredsX509Properties *options, GError **errp);
TlsCreds *tls_object_new_psk(const TlsCredsPskProperties *options, GError **errp);
void tls_object_free(void *creds); /* GDestroyNotify of an object */

/* The credentials of that id, for that side, held. */
UserObject *tls_object_hold(const char *id, QCryptoTLSCredsEndpoint endpoint, GError **errp);

#endif
