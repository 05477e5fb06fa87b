/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Negotiation: the greeting, the loop over options and their replies; see negotiate.h. */
#include "nbd-export/negotiate.h"

#include "nbd-export/server.h"
#include "nbd-export/starttls.h"

/* The data of an option that is looked at; more is refused. */
#define MAX_OPTION_DATA (1u << 20)

/* --- Replies --- */

void nbd_option_reply(NbdNegotiation *negotiation, uint32_t type, const void *data, size_t len)
{
    uint8_t head[NBD_OPTION_REPLY_HEADER_SIZE];
    uint8_t *p = nbd_put64(head, NBD_OPTION_REPLY_MAGIC);

    nbd_put32(nbd_put32(nbd_put32(p, negotiation->option), type), len);
    g_byte_array_append(negotiation->out, head, sizeof(head));
    g_byte_array_append(negotiation->out, data, len);
}

void nbd_option_ack(NbdNegotiation *negotiation)
{
    nbd_option_reply(negotiation, NBD_REP_ACK, "", 0);
}

void nbd_option_error(NbdNegotiation *negotiation, uint32_t type, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    nbd_option_reply(negotiation, type, text, MIN(strlen(text), NBD_MAX_STRING));
}

void nbd_option_inconsistent(NbdNegotiation *negotiation)
{
    nbd_option_error(negotiation, NBD_REP_ERR_INVALID, "Inconsistent lengths in option %s",
                     nbd_option_name(negotiation->option));
}

void nbd_option_complain(NbdNegotiation *negotiation, const char *what)
{
    if (!negotiation->complained) {
        negotiation->complained = true;
        g_message("NBD client %s: %s", negotiation->socket->peer, what);
    }
}

bool co_nbd_send_replies(NbdNegotiation *negotiation)
{
    int ret =
        co_socket_send_buf(negotiation->socket, negotiation->out->data, negotiation->out->len);

    g_byte_array_set_size(negotiation->out, 0);
    return ret == 0;
}

/* --- Data of an option --- */

bool nbd_option_get_bytes(NbdNegotiation *negotiation, size_t len, const char **bytes)
{
    if (len > negotiation->len - negotiation->pos) {
        return false;
    }
    *bytes = (const char *)negotiation->data + negotiation->pos;
    negotiation->pos += len;
    return true;
}

bool nbd_option_get16(NbdNegotiation *negotiation, uint16_t *value)
{
    const char *bytes;

    if (!nbd_option_get_bytes(negotiation, sizeof(*value), &bytes)) {
        return false;
    }
    *value = get_be16((const uint8_t *)bytes);
    return true;
}

bool nbd_option_get32(NbdNegotiation *negotiation, uint32_t *value)
{
    const char *bytes;

    if (!nbd_option_get_bytes(negotiation, sizeof(*value), &bytes)) {
        return false;
    }
    *value = get_be32((const uint8_t *)bytes);
    return true;
}

/* --- The connection --- */

static bool co_greet(NbdNegotiation *negotiation)
{
    uint8_t hello[18], answer[4];
    uint8_t *p = nbd_put64(hello, NBD_INIT_MAGIC);
    uint32_t flags;

    p = nbd_put64(p, NBD_OPTION_MAGIC);
    nbd_put16(p, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    if (co_socket_send_buf(negotiation->socket, hello, sizeof(hello)) < 0 ||
        co_socket_recv_all(negotiation->socket, answer, sizeof(answer)) < 0) {
        return false;
    }
    flags = get_be32(answer);
    negotiation->fixed_newstyle = flags & NBD_FLAG_FIXED_NEWSTYLE;
    negotiation->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
    return !(flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES));
}

bool co_nbd_skip_data(NbdNegotiation *negotiation, size_t len)
{
    uint8_t waste[4096];

    while (len > 0) {
        size_t part = MIN(len, sizeof(waste));

        if (co_socket_recv_all(negotiation->socket, waste, part) < 0) {
            return false;
        }
        len -= part;
    }
    return true;
}

static bool co_read_data(NbdNegotiation *negotiation, size_t len)
{
    negotiation->pos = 0;
    negotiation->len = len;
    negotiation->data = g_realloc(negotiation->data, MAX(len, 1));
    return co_socket_recv_all(negotiation->socket, negotiation->data, len) == 0;
}

static bool is_known(uint32_t option)
{
    switch (option) {
    case NBD_OPT_EXPORT_NAME:
    case NBD_OPT_ABORT:
    case NBD_OPT_LIST:
    case NBD_OPT_STARTTLS:
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
    case NBD_OPT_STRUCTURED_REPLY:
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT:
    case NBD_OPT_EXTENDED_HEADERS:
        return true;
    default:
        return false;
    }
}

/* What is not even read: an option that nobody here knows, or too much of it. */
static void refuse_unread(NbdNegotiation *negotiation, uint32_t len)
{
    if (negotiation->option == NBD_OPT_EXPORT_NAME) {
        negotiation->closing = true; /* it has no error reply */
    } else if (!is_known(negotiation->option)) {
        nbd_option_error(negotiation, NBD_REP_ERR_UNSUP, "Unsupported option %u (%s)",
                         negotiation->option, nbd_option_name(negotiation->option));
    } else {
        nbd_option_error(negotiation, NBD_REP_ERR_TOO_BIG,
                         "option '%s' has %u bytes of data, at most %u are accepted",
                         nbd_option_name(negotiation->option), len, MAX_OPTION_DATA);
    }
}

static bool co_read_option(NbdNegotiation *negotiation, uint32_t len)
{
    if (negotiation->tls) {
        return co_nbd_option_before_tls(negotiation, len);
    }
    if (len > MAX_OPTION_DATA || !is_known(negotiation->option)) {
        if (!co_nbd_skip_data(negotiation, len)) {
            return false;
        }
        refuse_unread(negotiation, len);
        return true;
    }
    if (!co_read_data(negotiation, len)) {
        return false;
    }
    nbd_option_handle(negotiation);
    return true;
}

/* One option. A client that is not "fixed newstyle" does not understand replies. */
static bool co_next_option(NbdNegotiation *negotiation)
{
    uint8_t head[NBD_OPTION_HEADER_SIZE];
    uint32_t len;

    if (co_socket_recv_all(negotiation->socket, head, sizeof(head)) < 0 ||
        get_be64(head) != NBD_OPTION_MAGIC) {
        return false;
    }
    negotiation->option = get_be32(head + 8);
    len = get_be32(head + 12);
    if (len > NBD_MAX_PAYLOAD ||
        (!negotiation->fixed_newstyle && negotiation->option != NBD_OPT_EXPORT_NAME)) {
        return false;
    }
    return co_read_option(negotiation, len) && co_nbd_send_replies(negotiation) &&
           !negotiation->closing;
}

/* The export may have gone while the last reply was sent. */
static bool choose(NbdNegotiation *negotiation, NbdChoice *choice)
{
    NbdExport *export = negotiation->chosen ? nbd_server_find_serial(negotiation->chosen) : NULL;

    if (!export) {
        return false;
    }
    if (negotiation->contexts_of != negotiation->chosen) {
        g_array_set_size(negotiation->contexts, 0);
    }
    export_client_begin(&export->base);
    choice->export = export;
    choice->mode = negotiation->mode;
    choice->contexts = g_steal_pointer(&negotiation->contexts);
    return true;
}

bool co_nbd_negotiate(Socket **socket, const NbdTls *tls, NbdChoice *choice)
{
    NbdNegotiation negotiation = {
        .socket = *socket,
        .tls = tls,
        .out = g_byte_array_new(),
        .contexts = g_array_new(false, false, sizeof(uint32_t)),
    };
    bool chosen = false;

    if (co_greet(&negotiation)) {
        while (co_next_option(&negotiation) && !negotiation.chosen) {
        }
        chosen = choose(&negotiation, choice);
    }
    *socket = negotiation.socket;
    g_clear_pointer(&negotiation.contexts, g_array_unref);
    g_byte_array_unref(negotiation.out);
    g_free(negotiation.data);
    return chosen;
}
