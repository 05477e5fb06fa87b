/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NBD_OPT_STARTTLS, and what is answered before it where TLS is required. */
#ifndef NBD_EXPORT_STARTTLS_H
#define NBD_EXPORT_STARTTLS_H

#include "block/objects/authz.h"
#include "io/tls-creds.h"
#include "nbd-export/negotiate.h"

/* What a server requires of its clients. */
typedef struct NbdTls {
    const TlsCreds *creds;
    Authz *authz; /* who may come in, or NULL for all whose certificate is good */
} NbdTls;

/*
 * Takes one option, with @len bytes of data that were not read yet, while negotiation->tls is set:
 * all but ABORT and STARTTLS are refused, and the latter begins TLS.  False: to be closed.
 *
 * Nothing that a client (or who is between) has sent in clear behind STARTTLS counts: it is not
 * read before the handshake, which finds that it is none of its records.
 */
bool co_nbd_option_before_tls(NbdNegotiation *negotiation, uint32_t len);

#endif
