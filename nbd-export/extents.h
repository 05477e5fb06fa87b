/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The payload of a block status chunk while it grows: neighbours that are alike become one extent.
 */
#ifndef NBD_EXPORT_EXTENTS_H
#define NBD_EXPORT_EXTENTS_H

#include "nbd-export/wire.h"

typedef struct NbdExtents {
    uint8_t *wire; /* what is on its way to the client, len bytes of it */
    size_t len;
    /* Private. */
    NbdMode mode;
    uint64_t last_length; /* of the extent that may still grow, 0 before the first */
    uint32_t last_flags;
    unsigned count, max;
} NbdExtents;

/* The bytes that @max extents take. */
static inline size_t nbd_extents_size(NbdMode mode, size_t max)
{
    return nbd_status_head_size(mode) + max * nbd_extent_size(mode);
}

/* For the context with this id; @max extents at most, 1 or more, at @wire, which is the caller's
 * and has nbd_extents_size() bytes. */
void nbd_extents_init(NbdExtents *extents, NbdMode mode, uint32_t context_id, unsigned max,
                      void *wire);

/* Private: the last extent grows no more. */
static inline void nbd_extents_put_last(NbdExtents *extents)
{
    g_assert(extents->mode == NBD_MODE_EXTENDED || extents->last_length <= UINT32_MAX);
    nbd_extent_put(extents->wire + extents->len, extents->mode, extents->last_length,
                   extents->last_flags);
    extents->len += nbd_extent_size(extents->mode);
}

/*
 * Adds an extent of @length bytes (not 0) behind the last.  False, with nothing added, where it
 * would be one too many.  Without extended headers all extents together have less than 4 GiB.
 */
static inline bool nbd_extents_add(NbdExtents *extents, uint64_t length, uint32_t flags)
{
    if (extents->count && extents->last_flags == flags) {
        extents->last_length += length;
        return true;
    }
    if (extents->count == extents->max) {
        return false;
    }
    if (extents->count) {
        nbd_extents_put_last(extents);
    }
    extents->count++;
    extents->last_length = length;
    extents->last_flags = flags;
    return true;
}

static inline bool nbd_extents_empty(const NbdExtents *extents)
{
    return extents->count == 0;
}

/* Completes the payload; there must be an extent. */
void nbd_extents_finish(NbdExtents *extents);

#endif
