/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Meta contexts; see meta-context.h. */
#include "nbd-export/meta-context.h"

#include "block/node-io.h"
#include "nbd-export/protocol.h"

/* In one answer; a client asks again for the rest. Bounds time (drain waits for it) and memory. */
#define MAX_EXTENTS 16384
#define EXTENT_SIZE 8

/* QEMU's numbers: clients must not rely on them, but may as well find the same. */
enum { ID_ALLOCATION = 0, ID_DEPTH = 1, ID_FIRST_BITMAP = 2 };

/* --- Names --- */

static void context_clear(void *opaque)
{
    g_free(((NbdContext *)opaque)->name);
}

static void context_add(GArray *contexts, NbdContextKind kind, uint32_t id, char *name,
                        const DirtyBitmap *bitmap)
{
    NbdContext context = {.kind = kind, .id = id, .name = name, .bitmap = bitmap};

    g_array_append_val(contexts, context);
}

GArray *nbd_contexts_new(bool allocation_depth, const GPtrArray *bitmaps)
{
    GArray *contexts = g_array_new(false, false, sizeof(NbdContext));

    g_array_set_clear_func(contexts, context_clear);
    context_add(contexts, NBD_CONTEXT_ALLOCATION, ID_ALLOCATION, g_strdup("base:allocation"), NULL);
    if (allocation_depth) {
        context_add(contexts, NBD_CONTEXT_DEPTH, ID_DEPTH, g_strdup("qemu:allocation-depth"), NULL);
    }
    for (unsigned i = 0; i < bitmaps->len; i++) {
        const DirtyBitmap *bitmap = bitmaps->pdata[i];

        context_add(contexts, NBD_CONTEXT_BITMAP, ID_FIRST_BITMAP + i,
                    g_strconcat("qemu:dirty-bitmap:", dirty_bitmap_name(bitmap), NULL), bitmap);
    }
    return contexts;
}

static bool is_wildcard(const char *query, size_t len)
{
    static const char *const wildcards[] = {"base:", "qemu:", "qemu:dirty-bitmap:"};

    for (size_t i = 0; i < G_N_ELEMENTS(wildcards); i++) {
        if (strlen(wildcards[i]) == len && !memcmp(wildcards[i], query, len)) {
            return true;
        }
    }
    return false;
}

bool nbd_context_matches(const NbdContext *context, const char *query, size_t len, bool listing)
{
    size_t name_len = strlen(context->name);

    return len <= name_len && !memcmp(context->name, query, len) &&
           (len == name_len || (listing && is_wildcard(query, len)));
}

/* --- Extents --- */

/* Extents as they go on the wire: pairs of big-endian 32-bit length and flags. */
typedef struct NbdExtents {
    GByteArray *wire; /* begins with the context id */
    uint64_t covered; /* bytes described */
    uint32_t last_length, last_flags;
} NbdExtents;

/* Adds an extent, as part of the last one where the flags are equal. */
static void extents_add(NbdExtents *extents, uint64_t length, uint32_t flags)
{
    uint8_t extent[EXTENT_SIZE];
    bool merge = extents->last_length && extents->last_flags == flags;

    extents->covered += length;
    if (merge) {
        length += extents->last_length;
        g_byte_array_set_size(extents->wire, extents->wire->len - EXTENT_SIZE);
    }
    g_assert(length > 0 && length <= UINT32_MAX); /* both lie in a request, which has 32 bits */
    nbd_put32(nbd_put32(extent, length), flags);
    g_byte_array_append(extents->wire, extent, EXTENT_SIZE);
    extents->last_length = length;
    extents->last_flags = flags;
}

static unsigned extents_count(const NbdExtents *extents)
{
    return extents->wire->len / EXTENT_SIZE;
}

/* Whether @flags continue the last extent, or there may be one more. */
static bool extents_takes(const NbdExtents *extents, uint32_t flags, bool one)
{
    return !extents->last_length || extents->last_flags == flags ||
           extents_count(extents) < (one ? 1 : MAX_EXTENTS);
}

static uint32_t flags_of_status(NbdContextKind kind, const BlockStatus *status)
{
    if (kind == NBD_CONTEXT_DEPTH) {
        return status->depth; /* 1: the exported layer, 2: its backing file, …; 0: none has it */
    }
    return (status->flags & BLOCK_STATUS_DATA ? 0 : NBD_STATE_HOLE) |
           (status->flags & BLOCK_STATUS_ZERO ? NBD_STATE_ZERO : 0);
}

static int co_describe_status(NbdExtents *extents, NbdContextKind kind, BlockChild *child,
                              int64_t offset, int64_t length, bool one, const bool *hurry)
{
    while (length > 0 && !(hurry && *hurry && extents->covered)) {
        BlockStatus status;
        uint32_t flags;
        int ret = co_block_status_above(child, NULL, kind == NBD_CONTEXT_ALLOCATION, offset, length,
                                        &status);

        if (ret < 0) {
            return ret;
        }
        flags = flags_of_status(kind, &status);
        if (status.bytes == 0 || !extents_takes(extents, flags, one)) {
            break;
        }
        extents_add(extents, status.bytes, flags);
        offset += status.bytes;
        length -= status.bytes;
    }
    return extents->covered ? 0 : -EIO;
}

static void describe_bitmap(NbdExtents *extents, const DirtyBitmap *bitmap, int64_t offset,
                            int64_t length, bool one)
{
    int64_t end = offset + length;

    while (offset < end) {
        bool dirty = dirty_bitmap_get(bitmap, offset);
        uint32_t flags = dirty ? NBD_STATE_DIRTY : 0;
        int64_t next = end;

        if (!extents_takes(extents, flags, one)) {
            return;
        }
        if (dirty) {
            dirty_bitmap_next_clean(bitmap, offset, end, &next);
        } else {
            dirty_bitmap_next_dirty(bitmap, offset, end, &next);
        }
        extents_add(extents, next - offset, flags);
        offset = next;
    }
}

int co_nbd_context_describe(const NbdContext *context, BlockChild *child, int64_t offset,
                            int64_t length, bool one, const bool *hurry, GByteArray **wire)
{
    NbdExtents extents = {.wire = g_byte_array_new()};
    uint8_t id[4];
    int ret = 0;

    nbd_put32(id, context->id);
    g_byte_array_append(extents.wire, id, sizeof(id));
    if (context->kind == NBD_CONTEXT_BITMAP) {
        describe_bitmap(&extents, context->bitmap, offset, length, one);
    } else {
        ret = co_describe_status(&extents, context->kind, child, offset, length, one, hurry);
    }
    if (ret < 0) {
        g_byte_array_unref(extents.wire);
        return ret;
    }
    *wire = extents.wire;
    return 0;
}
