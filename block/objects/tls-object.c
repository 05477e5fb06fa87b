/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Credentials of TLS as objects; see tls-object.h. */
#include "block/objects/tls-object.h"

#include "block/objects/secret.h"
#include "util/error.h"

TlsCreds *tls_object_new_x509(const TlsCredsX509Properties *o, GError **errp)
{
    TlsCredsOptions options = {
        .dir = o->dir,
        .priority = o->priority,
        .server = o->has_endpoint && o->endpoint == Q_CRYPTO_TLS_CREDS_ENDPOINT_SERVER,
        .verify_peer = !o->has_verify_peer || o->verify_peer,
        .sanity_check = !o->has_sanity_check || o->sanity_check,
    };

    if (o->passwordid) {
        options.password = secret_find_text(o->passwordid, errp);
        if (!options.password) {
            return NULL;
        }
    }
    return tls_creds_new_x509(&options, errp);
}

TlsCreds *tls_object_new_psk(const TlsCredsPskProperties *o, GError **errp)
{
    TlsCredsOptions options = {
        .dir = o->dir,
        .priority = o->priority,
        .server = o->has_endpoint && o->endpoint == Q_CRYPTO_TLS_CREDS_ENDPOINT_SERVER,
        .username = o->username,
    };

    return tls_creds_new_psk(&options, errp);
}

void tls_object_free(void *creds)
{
    tls_creds_free(creds);
}

UserObject *tls_object_hold(const char *id, QCryptoTLSCredsEndpoint endpoint, GError **errp)
{
    UserObject *object = user_object_find(id);

    if (!object) {
        tm_error_set(errp, "No TLS credentials with id '%s'", id);
        return NULL;
    }
    if (object->type != OBJECT_TYPE_TLS_CREDS_X509 && object->type != OBJECT_TYPE_TLS_CREDS_PSK) {
        tm_error_set(errp, "Object with id '%s' is not TLS credentials", id);
        return NULL;
    }
    if (tls_creds_is_server(object->state) !=
        (endpoint == Q_CRYPTO_TLS_CREDS_ENDPOINT_SERVER)) {
        tm_error_set(errp, "Expected TLS credentials for a %s endpoint",
                     QCryptoTLSCredsEndpoint_name(endpoint));
        return NULL;
    }
    return user_object_hold(object);
}
