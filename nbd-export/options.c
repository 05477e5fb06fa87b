/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options of the negotiation, all but those on meta contexts. */
#include "block/node.h"
#include "nbd-export/negotiate.h"
#include "nbd-export/server.h"

/* A name that does not exist is repeated to the client only in part. */
#define SHOWN_NAME 80
/* What is efficient on about every disk; as in QEMU. */
#define PREFERRED_BLOCK_SIZE 4096u
/* The largest "minimum" that the protocol knows. */
#define MAX_MIN_BLOCK 65536u

const char *nbd_option_name(uint32_t option)
{
    static const char *const names[] = {
        [NBD_OPT_EXPORT_NAME] = "export name",
        [NBD_OPT_ABORT] = "abort",
        [NBD_OPT_LIST] = "list",
        [NBD_OPT_STARTTLS] = "starttls",
        [NBD_OPT_INFO] = "info",
        [NBD_OPT_GO] = "go",
        [NBD_OPT_STRUCTURED_REPLY] = "structured reply",
        [NBD_OPT_LIST_META_CONTEXT] = "list meta context",
        [NBD_OPT_SET_META_CONTEXT] = "set meta context",
        [NBD_OPT_EXTENDED_HEADERS] = "extended headers",
    };

    return option < G_N_ELEMENTS(names) && names[option] ? names[option] : "<unknown>";
}

static void unexpected_length(NbdNegotiation *negotiation)
{
    nbd_option_error(negotiation, NBD_REP_ERR_INVALID, "option '%s' has unexpected length",
                     nbd_option_name(negotiation->option));
}

/* --- Which export --- */

/* The export of that name, which need not end with a zero byte (and must not hold one). */
static NbdExport *find_export(const char *name, size_t len)
{
    g_autofree char *copy = g_strndup(name, len);

    return strlen(copy) == len && nbd_server_running() ? nbd_server_find(copy) : NULL;
}

NbdExport *nbd_option_export(NbdNegotiation *negotiation)
{
    NbdExport *export;
    uint32_t len;
    const char *name;

    if (!nbd_option_get32(negotiation, &len)) {
        nbd_option_inconsistent(negotiation);
        return NULL;
    }
    if (len > NBD_MAX_STRING) {
        nbd_option_error(negotiation, NBD_REP_ERR_INVALID, "Invalid name length: %u", len);
        return NULL;
    }
    if (!nbd_option_get_bytes(negotiation, len, &name)) {
        nbd_option_inconsistent(negotiation);
        return NULL;
    }
    export = find_export(name, len);
    if (!export) {
        nbd_option_error(negotiation, NBD_REP_ERR_UNKNOWN, "export '%.*s%s' not present",
                         (int)MIN(len, SHOWN_NAME), name, len > SHOWN_NAME ? "..." : "");
    }
    return export;
}

/* Whether block status requests may name some of the contexts: of use once there are any. */
static bool offers_status_payload(const NbdNegotiation *negotiation, const NbdExport *export)
{
    bool selected = negotiation->contexts->len > 0 && negotiation->contexts_of == export->serial;

    return negotiation->mode == NBD_MODE_EXTENDED &&
           (selected || negotiation->option == NBD_OPT_INFO);
}

static uint16_t transmission_flags(const NbdNegotiation *negotiation, const NbdExport *export)
{
    return export->flags | (negotiation->mode >= NBD_MODE_STRUCTURED ? NBD_FLAG_SEND_DF : 0) |
           (offers_status_payload(negotiation, export) ? NBD_FLAG_BLOCK_STATUS_PAYLOAD : 0);
}

/* --- NBD_OPT_EXPORT_NAME: no error can be told but by closing --- */

/* A client that has asked for extended headers must use NBD_OPT_GO. */
static NbdExport *find_named(const NbdNegotiation *negotiation)
{
    return negotiation->mode < NBD_MODE_EXTENDED && negotiation->len <= NBD_MAX_STRING
               ? find_export((char *)negotiation->data, negotiation->len)
               : NULL;
}

static void handle_export_name(NbdNegotiation *negotiation)
{
    uint8_t answer[10 + NBD_EXPORT_NAME_ZEROES] = {0};
    NbdExport *export = find_named(negotiation);
    uint8_t *p;

    if (!export) {
        negotiation->closing = true;
        return;
    }
    negotiation->chosen = export->serial;
    p = nbd_put16(nbd_put64(answer, export->size), transmission_flags(negotiation, export));
    g_byte_array_append(negotiation->out, answer,
                        negotiation->no_zeroes ? p - answer : (ptrdiff_t)sizeof(answer));
}

/* --- NBD_OPT_INFO, NBD_OPT_GO --- */

/* Which informations the client asked for; unknown ones are ignored. */
typedef struct InfoRequests {
    bool name, block_size;
} InfoRequests;

static bool get_info_requests(NbdNegotiation *negotiation, InfoRequests *requests)
{
    uint16_t count, type;

    if (!nbd_option_get16(negotiation, &count)) {
        return false;
    }
    while (count-- > 0) {
        if (!nbd_option_get16(negotiation, &type)) {
            return false;
        }
        requests->name |= type == NBD_INFO_NAME;
        requests->block_size |= type == NBD_INFO_BLOCK_SIZE;
    }
    return true;
}

static void add_info_text(NbdNegotiation *negotiation, uint16_t type, const char *text)
{
    size_t len = strlen(text);
    g_autofree uint8_t *info = g_malloc(2 + len);

    memcpy(nbd_put16(info, type), text, len);
    nbd_option_reply(negotiation, NBD_REP_INFO, info, 2 + len);
}

static uint32_t min_block(const NbdExport *export)
{
    return CLAMP(export->base.child->node->limits.request_alignment, 1, MAX_MIN_BLOCK);
}

/* A client that does not ask is told of no minimum: what is smaller is served all the same. */
static void add_block_size(NbdNegotiation *negotiation, const NbdExport *export, bool asked)
{
    uint32_t min = asked || negotiation->option == NBD_OPT_INFO ? min_block(export) : 1;
    uint8_t info[14], *p = nbd_put16(info, NBD_INFO_BLOCK_SIZE);

    p = nbd_put32(p, min);
    p = nbd_put32(p, MAX(min, PREFERRED_BLOCK_SIZE));
    nbd_put32(p, NBD_MAX_PAYLOAD);
    nbd_option_reply(negotiation, NBD_REP_INFO, info, sizeof(info));
}

static void add_export(NbdNegotiation *negotiation, const NbdExport *export)
{
    uint8_t info[12], *p = nbd_put16(info, NBD_INFO_EXPORT);

    nbd_put16(nbd_put64(p, export->size), transmission_flags(negotiation, export));
    nbd_option_reply(negotiation, NBD_REP_INFO, info, sizeof(info));
}

static void add_infos(NbdNegotiation *negotiation, const NbdExport *export,
                      const InfoRequests *requests)
{
    if (requests->name) {
        add_info_text(negotiation, NBD_INFO_NAME, export->name);
    }
    if (export->description) {
        add_info_text(negotiation, NBD_INFO_DESCRIPTION, export->description);
    }
    add_block_size(negotiation, export, requests->block_size);
    add_export(negotiation, export);
}

static void handle_info(NbdNegotiation *negotiation)
{
    InfoRequests requests = {0};
    NbdExport *export = nbd_option_export(negotiation);

    if (!export) {
        return;
    }
    if (!get_info_requests(negotiation, &requests)) {
        nbd_option_inconsistent(negotiation);
        return;
    }
    if (negotiation->pos != negotiation->len) {
        unexpected_length(negotiation);
        return;
    }
    add_infos(negotiation, export, &requests);
    if (negotiation->option == NBD_OPT_GO) {
        negotiation->chosen = export->serial;
    } else if (!requests.block_size && min_block(export) > 1) {
        nbd_option_error(negotiation, NBD_REP_ERR_BLOCK_SIZE_REQD,
                         "request NBD_INFO_BLOCK_SIZE to use this export");
        return;
    }
    nbd_option_ack(negotiation);
}

/* --- The short ones --- */

static void add_listed(NbdNegotiation *negotiation, const NbdExport *export)
{
    g_autoptr(GByteArray) entry = g_byte_array_new();
    uint8_t len[4];

    nbd_put32(len, strlen(export->name));
    g_byte_array_append(entry, len, sizeof(len));
    g_byte_array_append(entry, (const uint8_t *)export->name, strlen(export->name));
    if (export->description) {
        g_byte_array_append(entry, (const uint8_t *)export->description,
                            strlen(export->description));
    }
    nbd_option_reply(negotiation, NBD_REP_SERVER, entry->data, entry->len);
}

static void handle_list(NbdNegotiation *negotiation)
{
    const GPtrArray *exports = nbd_server_exports();

    for (unsigned i = 0; i < exports->len; i++) {
        add_listed(negotiation, exports->pdata[i]);
    }
    nbd_option_ack(negotiation);
}

/* Extended headers go beyond structured replies: they may follow them, but not the reverse. */
static void handle_mode(NbdNegotiation *negotiation, NbdMode mode)
{
    if (negotiation->mode == mode) {
        nbd_option_error(negotiation, NBD_REP_ERR_INVALID, "%s already negotiated",
                         nbd_option_name(negotiation->option));
    } else if (negotiation->mode > mode) {
        nbd_option_error(negotiation, NBD_REP_ERR_EXT_HEADER_REQD,
                         "extended headers already negotiated");
    } else {
        negotiation->mode = mode;
        nbd_option_ack(negotiation);
    }
}

static void handle_abort(NbdNegotiation *negotiation)
{
    nbd_option_ack(negotiation);
    negotiation->closing = true;
}

/* These have no data. */
static void handle_without_data(NbdNegotiation *negotiation)
{
    if (negotiation->len) {
        unexpected_length(negotiation);
    } else if (negotiation->option == NBD_OPT_LIST) {
        handle_list(negotiation);
    } else if (negotiation->option == NBD_OPT_STRUCTURED_REPLY) {
        handle_mode(negotiation, NBD_MODE_STRUCTURED);
    } else if (negotiation->option == NBD_OPT_EXTENDED_HEADERS) {
        handle_mode(negotiation, NBD_MODE_EXTENDED);
    } else if (negotiation->encrypted) {
        nbd_option_error(negotiation, NBD_REP_ERR_INVALID, "TLS already enabled");
    } else {
        nbd_option_complain(negotiation, "asks for TLS, and the server has no tls-creds");
        nbd_option_error(negotiation, NBD_REP_ERR_POLICY, "TLS not configured");
    }
}

void nbd_option_handle(NbdNegotiation *negotiation)
{
    switch ((NbdOption)negotiation->option) {
    case NBD_OPT_EXPORT_NAME:
        handle_export_name(negotiation);
        return;
    case NBD_OPT_ABORT:
        handle_abort(negotiation);
        return;
    case NBD_OPT_LIST:
    case NBD_OPT_STARTTLS:
    case NBD_OPT_STRUCTURED_REPLY:
    case NBD_OPT_EXTENDED_HEADERS:
        handle_without_data(negotiation);
        return;
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
        handle_info(negotiation);
        return;
    case NBD_OPT_LIST_META_CONTEXT:
        nbd_option_meta_context(negotiation, true);
        return;
    case NBD_OPT_SET_META_CONTEXT:
        nbd_option_meta_context(negotiation, false);
        return;
    }
    g_assert_not_reached();
}
