/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The payload of a block status chunk; see extents.h. */
#include "nbd-export/extents.h"

void nbd_extents_init(NbdExtents *extents, NbdMode mode, uint32_t context_id, unsigned max,
                      void *wire)
{
    g_assert(max > 0);
    *extents =
        (NbdExtents){.wire = wire, .len = nbd_status_head_size(mode), .mode = mode, .max = max};
    nbd_put32(extents->wire, context_id);
}

void nbd_extents_finish(NbdExtents *extents)
{
    g_assert(extents->count > 0);
    nbd_extents_put_last(extents);
    if (extents->mode == NBD_MODE_EXTENDED) {
        nbd_put32(extents->wire + 4, extents->count);
    }
}
