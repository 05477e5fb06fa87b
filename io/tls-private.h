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
    char *psk_path, *psk_user; /* keys.psk of both sides, the client's own user */
    gnutls_dh_params_t dh; /* of dh-params.pem, or NULL: gnutls has good ones */
};

/*
 * A client of a server with keys: gnutls_session_set_ptr() sets it.  It is written in the
 * handshake.
 */
typedef struct TlsPskClient {
    const char *path; /* keys.psk */
    char *fault;      /* what is wrong if the handshake fails for its key; NULL: it named no user */
} TlsPskClient;

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

/* What gnutls's status of a certificate means, in QEMU's words (which has none for the times). */
const char *tls_cert_fault(unsigned status);

/* tls-explain.c: why the handshake may have failed with gnutls's @error (0: the connection was
 * lost), in parentheses behind a space; "" where no more is known than gnutls says. */
char *tls_explain(gnutls_session_t session, const TlsCreds *creds, int error);

/* Why a server may end the connection although the handshake went well, which it does with TLS 1.3
 * where it does not like our certificate; NULL where it did not ask for one. */
const char *tls_doubt(gnutls_session_t session, const TlsCreds *creds);

#endif
