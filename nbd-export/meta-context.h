/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Meta contexts: what a client can ask about ranges with NBD_CMD_BLOCK_STATUS.
 *
 * An export offers base:allocation, and as configured qemu:allocation-depth and
 * qemu:dirty-bitmap:NAME (qemu/qemu: docs/interop/nbd.rst). A client selects some of them.
 */
#ifndef NBD_EXPORT_META_CONTEXT_H
#define NBD_EXPORT_META_CONTEXT_H

#include "bitmap/dirty-bitmap.h"
#include "block/child.h"
#include "nbd-export/extents.h"

typedef enum NbdContextKind {
    NBD_CONTEXT_ALLOCATION,
    NBD_CONTEXT_DEPTH,
    NBD_CONTEXT_BITMAP,
} NbdContextKind;

typedef struct NbdContext {
    NbdContextKind kind;
    uint32_t id; /* on the wire */
    char *name;
    const DirtyBitmap *bitmap; /* of kind BITMAP */
} NbdContext;

/* The contexts of an export, of NbdContext; freed with g_array_unref(). */
GArray *nbd_contexts_new(bool allocation_depth, const GPtrArray *bitmaps);

/*
 * Does the @len bytes long @query name the context?  When listing, "base:", "qemu:" and
 * "qemu:dirty-bitmap:" stand for all that begin with them.
 */
bool nbd_context_matches(const NbdContext *context, const char *query, size_t len, bool listing);

/*
 * Describes the range from @offset on, @length bytes (not 0, inside of the node), in @extents,
 * which is new: from its start on as far as there is room, with one extent at least.  @hurry makes
 * the answer short once it is true.  Yields.  0 or -errno.
 */
G_GNUC_WARN_UNUSED_RESULT int co_nbd_context_describe(const NbdContext *context, BlockChild *child,
                                                      int64_t offset, int64_t length,
                                                      const bool *hurry, NbdExtents *extents);

#endif
