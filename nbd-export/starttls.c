/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NBD_OPT_STARTTLS; see starttls.h. */
#include "nbd-export/starttls.h"

#include "io/tls-socket.h"
#include "nbd-export/protocol.h"

/* As in QEMU, only the name in a verified certificate is asked about: a key is a permission. */
static bool is_allowed(const NbdTls *tls, const Socket *socket)
{
    const char *name = tls_socket_peer_name(socket);

    if (!tls->authz || !name || authz_allows(tls->authz, name)) {
        return true;
    }
    g_message("NBD client %s: TLS x509 authz check for %s is denied", socket->peer, name);
    return false;
}

static bool co_start_tls(NbdNegotiation *negotiation)
{
    const NbdTls *tls = negotiation->tls;
    g_autoptr(GError) error = NULL;

    nbd_option_ack(negotiation);
    if (!co_nbd_send_replies(negotiation)) {
        return false;
    }
    /* The server's time limit for the whole negotiation ends it, too. */
    if (!co_tls_start(&negotiation->socket, tls->creds, NULL, INT64_MAX, &error)) {
        g_message("NBD client %s: %s", negotiation->socket->peer, error->message);
        return false;
    }
    negotiation->tls = NULL;
    negotiation->encrypted = true;
    return is_allowed(tls, negotiation->socket);
}

bool co_nbd_option_before_tls(NbdNegotiation *negotiation, uint32_t len)
{
    if (negotiation->option != NBD_OPT_ABORT && negotiation->option != NBD_OPT_STARTTLS) {
        nbd_option_complain(negotiation, "does not begin TLS, which tls-creds requires");
    }
    if (negotiation->option == NBD_OPT_EXPORT_NAME || !co_nbd_skip_data(negotiation, len)) {
        return false; /* EXPORT_NAME has no error reply */
    }
    if (negotiation->option == NBD_OPT_ABORT) {
        nbd_option_ack(negotiation);
        negotiation->closing = true;
    } else if (negotiation->option != NBD_OPT_STARTTLS) {
        nbd_option_error(negotiation, NBD_REP_ERR_TLS_REQD,
                         "Option 0x%x not permitted before TLS", negotiation->option);
    } else if (len) {
        nbd_option_error(negotiation, NBD_REP_ERR_INVALID,
                         "option 'starttls' has unexpected length");
    } else {
        return co_start_tls(negotiation);
    }
    return true;
}
