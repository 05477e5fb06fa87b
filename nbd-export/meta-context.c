/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Meta contexts; see meta-context.h. */
#include "nbd-export/meta-context.h"

#include "block/node-io.h"
#include "io/co.h"
#include "nbd-export/protocol.h"

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

static uint32_t flags_of_status(NbdContextKind kind, const BlockStatus *status)
{
    if (kind == NBD_CONTEXT_DEPTH) {
        return status->depth; /* 1: the exported layer, 2: its backing file, …; 0: none has it */
    }
    return (status->flags & BLOCK_STATUS_DATA ? 0 : NBD_STATE_HOLE) |
           (status->flags & BLOCK_STATUS_ZERO ? NBD_STATE_ZERO : 0);
}

static int co_describe_status(NbdContextKind kind, BlockChild *child, int64_t offset,
                              int64_t length, const bool *hurry, NbdExtents *extents)
{
    while (length > 0 && !(*hurry && !nbd_extents_empty(extents))) {
        BlockStatus status;
        int ret = co_block_status_above(child, NULL, kind == NBD_CONTEXT_ALLOCATION, offset, length,
                                        &status);

        if (ret < 0) {
            return ret;
        }
        if (status.bytes == 0 ||
            !nbd_extents_add(extents, status.bytes, flags_of_status(kind, &status))) {
            break;
        }
        offset += status.bytes;
        length -= status.bytes;
    }
    return nbd_extents_empty(extents) ? -EIO : 0;
}

/* So many are described before others on the loop have a turn: a hundred microseconds or so. */
#define RUNS_AT_ONCE 2048

typedef struct BitmapWalk {
    NbdExtents *extents;
    int64_t align;
    int64_t pos, end; /* described up to there, and to be described up to there */
    unsigned runs;    /* in this turn yet */
} BitmapWalk;

/* Where bits stand for less than the least block that a client may ask for, a block is dirty if any
 * of it is. */
static bool found_dirty(void *opaque, int64_t start, int64_t bytes)
{
    BitmapWalk *w = opaque;
    int64_t from = MAX(start & -w->align, w->pos);
    uint64_t block_end = ((uint64_t)start + bytes + w->align - 1) & -(uint64_t)w->align;
    int64_t to = MIN(block_end, (uint64_t)w->end);

    if ((from > w->pos && !nbd_extents_add(w->extents, from - w->pos, 0)) ||
        (to > from && !nbd_extents_add(w->extents, to - from, NBD_STATE_DIRTY))) {
        w->end = w->pos; /* there is no room for the rest */
        return false;
    }
    w->pos = MAX(to, w->pos);
    return ++w->runs < RUNS_AT_ONCE;
}

static void co_describe_bitmap(const DirtyBitmap *bitmap, int64_t align, int64_t offset,
                               int64_t length, const bool *hurry, NbdExtents *extents)
{
    BitmapWalk w = {.extents = extents, .align = align, .pos = offset, .end = offset + length};

    for (;;) {
        dirty_bitmap_each_area(bitmap, w.pos, w.end, found_dirty, &w);
        if (w.runs < RUNS_AT_ONCE || w.pos == w.end) {
            break;
        }
        w.runs = 0;
        co_sleep_ns(0); /* unlike co_pass() it lets the loop look at what is finished */
        if (*hurry) {
            return;
        }
    }
    if (w.pos < w.end) {
        nbd_extents_add(extents, w.end - w.pos, 0);
    }
}

int co_nbd_context_describe(const NbdContext *context, BlockChild *child, int64_t offset,
                            int64_t length, const bool *hurry, NbdExtents *extents)
{
    if (context->kind == NBD_CONTEXT_BITMAP) {
        co_describe_bitmap(context->bitmap, child->node->limits.request_alignment, offset, length,
                           hurry, extents);
        return 0;
    }
    return co_describe_status(context->kind, child, offset, length, hurry, extents);
}
