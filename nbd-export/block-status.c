/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NBD_CMD_BLOCK_STATUS: which contexts a request is about, and the answer in each; see session.h.
 */
#include "nbd-export/session.h"

/* Of one answer, all contexts together; a client asks again for the rest.  Bounds time (drain waits
 * for it) and memory. */
#define MAX_EXTENTS 16384u

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

static int co_answer(NbdRequest *request, const NbdContext *context, unsigned max_extents)
{
    NbdSession *session = request->session;
    NbdExtents extents;
    int ret;

    nbd_extents_init(&extents, session->mode, context->id, max_extents);
    ret = co_nbd_context_describe(context, session->export->base.child, request->offset,
                                  request->length, &session->export->base.quiesced, &extents);
    if (ret < 0) {
        nbd_extents_clear(&extents);
        return ret;
    }
    nbd_extents_finish(&extents);
    nbd_reply_status(request, extents.wire, extents.len);
    return 0;
}

int co_nbd_block_status(NbdRequest *request)
{
    const NbdSession *session = request->session;
    const GArray *contexts = request->contexts ? request->contexts : session->contexts;
    bool one = request->flags & NBD_CMD_FLAG_REQ_ONE;
    unsigned max_extents = one ? 1 : MAX(MAX_EXTENTS / contexts->len, 1);

    for (unsigned i = 0; i < contexts->len; i++) {
        uint32_t index = g_array_index(contexts, uint32_t, i);
        int ret = co_answer(request, &g_array_index(session->export->contexts, NbdContext, index),
                            max_extents);

        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}
