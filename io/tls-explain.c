/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What gnutls's error leaves open: who or what was refused, and by whom. */
#include "io/tls-private.h"

/* These are a key's that does not fit: the first with TLS 1.3, the second before it. */
static bool is_of_key(int error)
{
    return error == GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER || error == GNUTLS_E_DECRYPTION_FAILED ||
           error == GNUTLS_E_SRP_PWD_ERROR;
}

static char *explain_alert(gnutls_session_t session)
{
    const char *name = gnutls_alert_get_name(gnutls_alert_get(session));

    return g_strdup(name ? name : "unknown alert");
}

static char *explain_error(gnutls_session_t session, const TlsCreds *creds, int error)
{
    if (creds->psk_server && is_of_key(error)) {
        return g_strdup(((TlsPskClient *)gnutls_session_get_ptr(session))->fault);
    }
    return error == GNUTLS_E_FATAL_ALERT_RECEIVED ? explain_alert(session) : NULL;
}

const char *tls_doubt(gnutls_session_t session, const TlsCreds *creds)
{
    if (!creds->x509 || creds->server ||
        gnutls_certificate_client_get_request_status(session) <= 0) {
        return NULL;
    }
    return gnutls_certificate_get_ours(session)
               ? "the server asks for a certificate, and may not accept ours"
               : "the server asks for a certificate, and we have none from an authority of its own";
}

/* It has ended it, and did not fail to do what it should. */
static bool is_of_peer(int error)
{
    return error == 0 || error == GNUTLS_E_FATAL_ALERT_RECEIVED ||
           error == GNUTLS_E_PREMATURE_TERMINATION;
}

char *tls_explain(gnutls_session_t session, const TlsCreds *creds, int error)
{
    g_autofree char *what = explain_error(session, creds, error);
    const char *doubt = is_of_peer(error) ? tls_doubt(session, creds) : NULL;

    if (doubt) {
        return g_strdup_printf(" (%s%s%s)", what ? what : "", what ? "; " : "", doubt);
    }
    if (creds->psk_user) { /* a server says nothing of a key, lest it tells who its users are */
        return g_strdup_printf(" (%s%sdoes the server know user '%s' with the key in %s?)",
                               what ? what : "", what ? "; " : "", creds->psk_user,
                               creds->psk_path);
    }
    return what ? g_strdup_printf(" (%s)", what) : g_strdup("");
}
