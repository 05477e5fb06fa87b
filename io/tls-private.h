/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of TLS share; private to io/. */
#ifndef IO_TLS_PRIVATE_H
#define IO_TLS_PRIVATE_H

#include <gnutls/gnutls.h>

#include "io/tls-creds.h"

struct TlsCreds {
    bool server, verify_peer;
    char *priority;
    gnutls_certificate_credentials_t x509; /* one of these three */
    gnutls_psk_server_credentials_t psk_server;
    gnutls_psk_client_credentials_t psk_client;
    gnutls_dh_params_t dh; /* of dh-params.pem, or NULL: gnutls has good ones */
};

/* tls-creds.c: what both kinds need. */
TlsCreds *tls_creds_new(const TlsCredsOptions *options);

/* The path of a file of the credentials; *path is NULL where there is none and none is needed. */
bool tls_creds_path(const TlsCredsOptions *options, const char *name, bool required, char **path,
                    GError **errp);

/* Reads dh-params.pem, where there is one, into creds->dh. */
bool tls_creds_load_dh(TlsCreds *creds, const TlsCredsOptions *options, GError **errp);

/* tls-check-own.c: are our own certificates fit for use?  Only @cert_path may be NULL. */
bool tls_check_own(bool server, const char *ca_path, const char *cert_path, GError **errp);

/* tls-check-peer.c: is the other side's certificate?  *name is its distinguished name; @hostname is
 * the one that a server must have. */
bool tls_check_peer(gnutls_session_t session, const TlsCreds *creds, const char *hostname,
                    char **name, GError **errp);

/* What gnutls's status of a certificate means, in QEMU's words. */
const char *tls_cert_fault(unsigned status);

#endif
