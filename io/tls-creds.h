/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Credentials of TLS: certificates or pre-shared keys, loaded from a folder with QEMU's file names.
 * They may serve any number of sessions at once, on any loops, and do not change.
 */
#ifndef IO_TLS_CREDS_H
#define IO_TLS_CREDS_H

#include <glib.h>
#include <stdbool.h>

typedef struct TlsCreds TlsCreds;

typedef struct TlsCredsOptions {
    const char *dir;
    const char *priority; /* gnutls's priority string; NULL for the default */
    bool server;
    /* Certificates only. */
    bool verify_peer;     /* the other side must have a valid one (and a server's fit its name) */
    bool sanity_check;    /* look at our own ones before they are used */
    const char *password; /* of the private key, or NULL */
    /* Keys only. */
    const char *username; /* the client's; NULL for "qemu" */
} TlsCredsOptions;

/*
 * Certificates: ca-cert.pem, ca-crl.pem, server-cert.pem, server-key.pem, client-cert.pem,
 * client-key.pem, dh-params.pem.  NULL with @errp set, in QEMU's words.  Reads files: it blocks.
 */
TlsCreds *tls_creds_new_x509(const TlsCredsOptions *options, GError **errp);

/* Pre-shared keys: keys.psk, which a server reads again for each client. */
TlsCreds *tls_creds_new_psk(const TlsCredsOptions *options, GError **errp);

bool tls_creds_is_server(const TlsCreds *creds);

/* No session may be left.  NULL is accepted. */
void tls_creds_free(TlsCreds *creds);

#endif
