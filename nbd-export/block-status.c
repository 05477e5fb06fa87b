/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NBD_CMD_BLOCK_STATUS: which contexts a request is about, and the answer in each; see session.h.
 */
#include "nbd-export/session.h"

/* Bytes of one answer, all contexts together, where an extent of each fits; a client asks again for
 * the rest.  Bounds time (drain and other clients wait for it) and memory. */
#define MAX_ANSWER (1u << 20)
/* No extent but the last of a disk is shorter, as a rule. */
#define LEAST_EXTENT 512

bool nbd_status_payload_fits(const NbdRequest *request)
{
    int64_t ids = nbd_status_payload_ids(request->payload);

    return ids > 0 && ids <= request->session->contexts->len &&
           request->payload <= NBD_RECEIVE_BUFFER;
}

/* The one of @contexts (of indexes) that has this id on the wire; NULL for none. */
static const uint32_t *find_id(const NbdSession *session, const GArray *contexts, uint32_t id)
{
    for (unsigned i = 0; i < contexts->len; i++) {
        const uint32_t *index = &g_array_index(contexts, uint32_t, i);

        if (g_array_index(session->export->contexts, NbdContext, *index).id == id) {
            return index;
        }
    }
    return NULL;
}

bool nbd_status_payload_take(NbdRequest *request, const uint8_t *payload)
{
    const NbdSession *session = request->session;
    int64_t ids = nbd_status_payload_ids(request->payload);
    g_autoptr(GArray) contexts = g_array_new(false, false, sizeof(uint32_t));

    for (int64_t i = 0; i < ids; i++) {
        uint32_t id = get_be32(payload + NBD_STATUS_PAYLOAD_FIXED + 4 * i);
        const uint32_t *index = find_id(session, session->contexts, id);

        if (!index || find_id(session, contexts, id)) {
            return false;
        }
        g_array_append_val(contexts, *index);
    }
    request->contexts = g_steal_pointer(&contexts);
    request->length = get_be64(payload);
    return true;
}

static const GArray *contexts_of(const NbdRequest *request)
{
    return request->contexts ? request->contexts : request->session->contexts;
}

/* How many extents a context may have in the answer. */
static unsigned extents_of_each(const NbdRequest *request)
{
    NbdMode mode = request->session->mode;
    size_t share = MAX_ANSWER / contexts_of(request)->len;

    if (request->flags & NBD_CMD_FLAG_REQ_ONE || share < nbd_extents_size(mode, 2)) {
        return 1;
    }
    return MIN((share - nbd_extents_size(mode, 0)) / nbd_extent_size(mode),
               request->length / LEAST_EXTENT + 2);
}

size_t nbd_status_buffer_len(const NbdRequest *request)
{
    return contexts_of(request)->len *
           nbd_extents_size(request->session->mode, extents_of_each(request));
}

static int co_answer(NbdRequest *request, const NbdContext *context, NbdExtents *extents)
{
    Export *export = &request->session->export->base;
    int ret = co_nbd_context_describe(context, export->child, request->offset, request->length,
                                      &export->quiesced, extents);

    if (ret < 0) {
        return ret;
    }
    nbd_extents_finish(extents);
    nbd_reply_status(request, extents->wire, extents->len);
    return 0;
}

int co_nbd_block_status(NbdRequest *request)
{
    const NbdSession *session = request->session;
    const GArray *contexts = contexts_of(request);
    unsigned max = extents_of_each(request);
    uint8_t *wire = request->buffer;

    for (unsigned i = 0; i < contexts->len; i++) {
        const NbdContext *context = &g_array_index(session->export->contexts, NbdContext,
                                                   g_array_index(contexts, uint32_t, i));
        NbdExtents extents;
        int ret;

        nbd_extents_init(&extents, session->mode, context->id, max, wire);
        ret = co_answer(request, context, &extents);
        if (ret < 0) {
            return ret;
        }
        wire += extents.len;
    }
    return 0;
}
