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
    size_t size;
    uint64_t last_length; /* of the extent that may still grow, 0 before the first */
    uint32_t last_flags;
    unsigned count, max;
} NbdExtents;

/* For the context with this id; @max extents at most, 1 or more. */
void nbd_extents_init(NbdExtents *extents, NbdMode mode, uint32_t context_id, unsigned max);

/*
 * Adds an extent of @length bytes (not 0) behind the last.  False, with nothing added, where it
 * would be one too many.  Without extended headers all extents together have less than 4 GiB.
 */
bool nbd_extents_add(NbdExtents *extents, uint64_t length, uint32_t flags);

static inline bool nbd_extents_empty(const NbdExtents *extents)
{
    return extents->count == 0;
}

/* Completes the payload, which is the caller's then (g_free()); there must be an extent. */
void nbd_extents_finish(NbdExtents *extents);

/* Frees it instead. */
void nbd_extents_clear(NbdExtents *extents);

#endif
