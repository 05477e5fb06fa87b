/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options on meta contexts: listing what an export offers, and selecting some. */
#include "nbd-export/meta-context.h"
#include "nbd-export/negotiate.h"

/* Marks the contexts that a query names: of several with just this name (bitmaps of different
 * nodes) the first. */
static void match_query(const GArray *contexts, bool *wanted, const char *query, size_t len,
                        bool listing)
{
    for (unsigned i = 0; i < contexts->len; i++) {
        if (nbd_context_matches(&g_array_index(contexts, NbdContext, i), query, len, listing)) {
            wanted[i] = true;
            if (!listing) {
                return;
            }
        }
    }
}

/* Reads the queries; false where they are not just the rest of the option's data. */
static bool get_queries(NbdNegotiation *negotiation, const GArray *contexts, bool *wanted,
                        bool listing)
{
    uint32_t count, len;
    const char *query;

    if (!nbd_option_get32(negotiation, &count)) {
        return false;
    }
    if (count == 0 && listing) {
        memset(wanted, true, contexts->len * sizeof(bool));
    }
    while (count-- > 0) {
        if (!nbd_option_get32(negotiation, &len) ||
            !nbd_option_get_bytes(negotiation, len, &query)) {
            return false;
        }
        match_query(contexts, wanted, query, len, listing);
    }
    return negotiation->pos == negotiation->len;
}

static void add_context(NbdNegotiation *negotiation, const NbdContext *context, bool listing)
{
    size_t len = strlen(context->name);
    g_autofree uint8_t *entry = g_malloc(4 + len);

    memcpy(nbd_put32(entry, listing ? 0 : context->id), context->name, len);
    nbd_option_reply(negotiation, NBD_REP_META_CONTEXT, entry, 4 + len);
}

static void add_wanted(NbdNegotiation *negotiation, const NbdExport *export, const bool *wanted,
                       bool listing)
{
    for (uint32_t i = 0; i < export->contexts->len; i++) {
        if (!wanted[i]) {
            continue;
        }
        add_context(negotiation, &g_array_index(export->contexts, NbdContext, i), listing);
        if (!listing) {
            g_array_append_val(negotiation->contexts, i);
        }
    }
    nbd_option_ack(negotiation);
}

/* What was selected before is forgotten, even where this fails. */
static void forget_selection(NbdNegotiation *negotiation)
{
    g_array_set_size(negotiation->contexts, 0);
    negotiation->contexts_of = 0;
}

void nbd_option_meta_context(NbdNegotiation *negotiation, bool listing)
{
    g_autofree bool *wanted = NULL;
    NbdExport *export;

    if (!listing) {
        forget_selection(negotiation);
    }
    if (!listing && negotiation->mode == NBD_MODE_SIMPLE) {
        nbd_option_error(negotiation, NBD_REP_ERR_INVALID,
                         "request option '%s' when structured reply is not negotiated",
                         nbd_option_name(negotiation->option));
        return;
    }
    export = nbd_option_export(negotiation);
    if (!export) {
        return;
    }
    wanted = g_new0(bool, export->contexts->len);
    if (!get_queries(negotiation, export->contexts, wanted, listing)) {
        nbd_option_inconsistent(negotiation);
        return;
    }
    add_wanted(negotiation, export, wanted, listing);
    if (!listing) {
        negotiation->contexts_of = export->serial;
    }
}
