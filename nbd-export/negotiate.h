/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Negotiation of a connection: fixed newstyle, from the greeting to the choice of an export. */
#ifndef NBD_EXPORT_NEGOTIATE_H
#define NBD_EXPORT_NEGOTIATE_H

#include "io/socket.h"
#include "nbd-export/nbd-export.h"
#include "nbd-export/protocol.h"

/* What was agreed on. */
typedef struct NbdChoice {
    NbdExport *export; /* with a client's place, which the caller gives back */
    NbdMode mode;
    GArray *contexts; /* of uint32_t: indexes into export->contexts */
} NbdChoice;

struct NbdTls;

/*
 * Talks to a new client until it has chosen an export (true) or went away or broke the protocol
 * (false; then the caller has only to close).  @tls: what is required first, or NULL; *socket is
 * replaced then.  Loop 0.
 */
bool co_nbd_negotiate(Socket **socket, const struct NbdTls *tls, NbdChoice *choice);

/* --- Among the files of the negotiation --- */

/*
 * Options are handled without a yield: the replies are gathered and sent together, so that no
 * export needs to be held meanwhile.
 */
typedef struct NbdNegotiation {
    Socket *socket;
    bool fixed_newstyle, no_zeroes; /* client flags */
    NbdMode mode;                   /* of transmission */
    const struct NbdTls *tls; /* to be started before all else; NULL where nothing is (any more) */
    bool encrypted;
    bool complained; /* the log has a line on this client, which may try again and again */

    /* The option under way: its data, which is read as it is parsed. */
    uint32_t option;
    uint8_t *data;
    size_t len, pos;
    GByteArray *out; /* to be sent when it has been handled */

    /* What NBD_OPT_SET_META_CONTEXT selected last. */
    uint64_t contexts_of; /* serial of the export, 0 for none */
    GArray *contexts;     /* of uint32_t */

    bool closing;    /* close the connection when the replies are sent */
    uint64_t chosen; /* serial of the export, by GO or EXPORT_NAME; 0 for none */
} NbdNegotiation;

/* Sends the replies that were gathered; false where the client is gone. */
bool co_nbd_send_replies(NbdNegotiation *negotiation);
/* Reads @len bytes away; false where the client is gone. */
bool co_nbd_skip_data(NbdNegotiation *negotiation, size_t len);

/* A line of the log on what the client must not do, the first time that it does. */
void nbd_option_complain(NbdNegotiation *negotiation, const char *what);

/* Handles an option whose data is there. */
void nbd_option_handle(NbdNegotiation *negotiation);

/* The option's name for messages. */
const char *nbd_option_name(uint32_t option);

/* Adds a reply to the option under way. */
void nbd_option_reply(NbdNegotiation *negotiation, uint32_t type, const void *data, size_t len);
void nbd_option_ack(NbdNegotiation *negotiation);
/* The same with a text. */
void nbd_option_error(NbdNegotiation *negotiation, uint32_t type, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
/* NBD_REP_ERR_INVALID: its data is too short for what it says to hold. */
void nbd_option_inconsistent(NbdNegotiation *negotiation);

/* Takes the next bytes of the option's data; false where it ends before. */
bool nbd_option_get16(NbdNegotiation *negotiation, uint16_t *value);
bool nbd_option_get32(NbdNegotiation *negotiation, uint32_t *value);
bool nbd_option_get_bytes(NbdNegotiation *negotiation, size_t len, const char **bytes);

/* Takes a 32-bit length and a name of that length and finds the export; NULL: replied an error. */
NbdExport *nbd_option_export(NbdNegotiation *negotiation);

/* options-meta.c */
void nbd_option_meta_context(NbdNegotiation *negotiation, bool listing);

#endif
