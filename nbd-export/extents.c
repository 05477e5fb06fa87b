/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The payload of a block status chunk; see extents.h. */
#include "nbd-export/extents.h"

/* Most answers are short. */
#define FIRST_SIZE 256

void nbd_extents_init(NbdExtents *extents, NbdMode mode, uint32_t context_id, unsigned max)
{
    g_assert(max > 0);
    *extents = (NbdExtents){
        .wire = g_malloc(FIRST_SIZE),
        .len = nbd_status_head_size(mode),
        .size = FIRST_SIZE,
        .mode = mode,
        .max = max,
    };
    nbd_put32(extents->wire, context_id);
}

/* The last extent grows no more. */
static void put_last(NbdExtents *extents)
{
    size_t len = nbd_extent_size(extents->mode);

    g_assert(extents->mode == NBD_MODE_EXTENDED || extents->last_length <= UINT32_MAX);
    if (extents->len + len > extents->size) {
        extents->size *= 2;
        extents->wire = g_realloc(extents->wire, extents->size);
    }
    nbd_extent_put(extents->wire + extents->len, extents->mode, extents->last_length,
                   extents->last_flags);
    extents->len += len;
}

bool nbd_extents_add(NbdExtents *extents, uint64_t length, uint32_t flags)
{
    if (extents->count && extents->last_flags == flags) {
        extents->last_length += length;
        return true;
    }
    if (extents->count == extents->max) {
        return false;
    }
    if (extents->count) {
        put_last(extents);
    }
    extents->count++;
    extents->last_length = length;
    extents->last_flags = flags;
    return true;
}

void nbd_extents_finish(NbdExtents *extents)
{
    g_assert(extents->count > 0);
    put_last(extents);
    if (extents->mode == NBD_MODE_EXTENDED) {
        nbd_put32(extents->wire + 4, extents->count);
    }
}

void nbd_extents_clear(NbdExtents *extents)
{
    g_clear_pointer(&extents->wire, g_free);
}
