/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The spill file; see spill.h.
 *
 * Invariants.
 *   - A slot is used from its allocation until it is given back, or the block in it is dropped; a
 *     read in flight counts for its slots, too.  An extent whose slots are all unused is free.
 *   - A free extent is in the list, but for the current one, which goes on being filled.
 *   - A block is held in at most one slot, and its bytes there never change.
 */
#include "block/copy/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#include "block/copy/spill-index.h"
#include "block/scratch-dir.h"
#include "io/co-file.h"
#include "io/co-lock.h"

struct Spill {
    size_t block_size;
    unsigned per_extent; /* slots */
    int64_t max_extents;
    int fd;
    CoMutex making;
    GArray *used;      /* of uint32_t: slots in use, of each extent there is */
    GArray *free;      /* of int64_t: extents */
    int64_t current;   /* the extent that is being filled; -1: none */
    unsigned filled;   /* its first slots were given out */
    SpillIndex *index;
    SparseBitmap *held;
    _Atomic int64_t used_extents;
};

Spill *spill_new(uint64_t n_blocks, size_t block_size, int64_t max_bytes, int fd)
{
    Spill *s = g_new0(Spill, 1);

    g_assert(block_size <= SPILL_EXTENT);
    s->block_size = block_size;
    s->per_extent = SPILL_EXTENT / block_size;
    s->max_extents = MIN(max_bytes / (int64_t)SPILL_EXTENT,
                         SPILL_INDEX_MAX_SLOTS / s->per_extent);
    s->fd = fd;
    s->used = g_array_new(false, true, sizeof(uint32_t));
    s->free = g_array_new(false, false, sizeof(int64_t));
    s->current = -1;
    s->index = spill_index_new();
    s->held = sparse_bitmap_new(n_blocks);
    return s;
}

void spill_free(Spill *s)
{
    if (!s) {
        return;
    }
    if (s->fd >= 0) {
        close(s->fd);
    }
    g_array_free(s->used, true);
    g_array_free(s->free, true);
    spill_index_free(s->index);
    sparse_bitmap_free(s->held);
    g_free(s);
}

/* --- slots --- */

static uint32_t *used_of(const Spill *s, int64_t slot)
{
    return &g_array_index(s->used, uint32_t, slot / s->per_extent);
}

static void use_slots(Spill *s, int64_t slot, unsigned count)
{
    uint32_t *used = used_of(s, slot);

    s->used_extents += *used == 0;
    *used += count;
}

static void unuse_slots(Spill *s, int64_t slot, unsigned count)
{
    uint32_t *used = used_of(s, slot);
    int64_t extent = slot / s->per_extent;

    *used -= count;
    if (*used == 0) {
        s->used_extents--;
        if (extent == s->current) {
            s->filled = 0;
        } else {
            g_array_append_val(s->free, extent);
        }
    }
}

static bool current_has_room(const Spill *s)
{
    return s->current >= 0 && s->filled < s->per_extent;
}

unsigned spill_room(const Spill *s)
{
    return current_has_room(s) ? s->per_extent - s->filled
           : s->free->len || s->used->len < s->max_extents ? s->per_extent
                                                           : 0;
}

/* A full current extent is left alone; it becomes free when its last slot does. */
static void next_extent(Spill *s)
{
    if (s->free->len) {
        s->current = g_array_index(s->free, int64_t, s->free->len - 1);
        g_array_set_size(s->free, s->free->len - 1);
    } else {
        s->current = s->used->len;
        g_array_set_size(s->used, s->used->len + 1);
    }
    s->filled = 0;
}

static int64_t take_slots(Spill *s, unsigned count)
{
    int64_t slot;

    g_assert(count <= spill_room(s));
    if (!current_has_room(s)) {
        next_extent(s);
    }
    slot = s->current * s->per_extent + s->filled;
    s->filled += count;
    use_slots(s, slot, count);
    return slot;
}

/* --- what is held --- */

void spill_hold(Spill *s, uint64_t block, int64_t slot)
{
    spill_index_add(s->index, block, slot);
    sparse_bitmap_set(s->held, block, 1);
}

void spill_give_back(Spill *s, int64_t slot)
{
    unuse_slots(s, slot, 1);
}

const SparseBitmap *spill_held(const Spill *s)
{
    return s->held;
}

bool spill_follows(const Spill *s, uint64_t block, uint64_t next)
{
    int64_t slot = spill_index_slot(s->index, block) + 1;

    return slot % s->per_extent != 0 && spill_index_holds(s->index, slot, next);
}

void spill_drop(Spill *s, uint64_t block)
{
    int64_t slot = spill_index_remove(s->index, block);

    sparse_bitmap_clear(s->held, block, 1);
    unuse_slots(s, slot, 1);
}

/* --- the file --- */

static int co_make(Spill *s)
{
    co_mutex_lock(&s->making);
    if (s->fd < 0) {
        s->fd = co_scratch_file();
    }
    co_mutex_unlock(&s->making);
    return MIN(s->fd, 0);
}

int64_t co_spill_write(Spill *s, const IoSlice *blocks)
{
    unsigned count = blocks->len / s->block_size;
    int64_t slot;
    ssize_t n;
    int ret = co_make(s);

    if (ret < 0) {
        return ret;
    }
    slot = take_slots(s, count);
    n = co_file_write(s->fd, slot * s->block_size, blocks, 0);
    if (n < 0) {
        unuse_slots(s, slot, count);
        return n;
    }
    return slot;
}

int co_spill_read(Spill *s, uint64_t block, const IoSlice *data)
{
    int64_t slot = spill_index_slot(s->index, block);
    unsigned count = data->len / s->block_size;
    ssize_t n;

    use_slots(s, slot, count);
    n = co_file_read(s->fd, slot * s->block_size, data);
    unuse_slots(s, slot, count);
    return n < 0 ? n : n < (ssize_t)data->len ? -EIO : 0;
}

int spill_dup_file(const Spill *s)
{
    return s->fd < 0 ? -1 : fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
}

/* --- figures --- */

int64_t spill_limit(const Spill *s)
{
    return s->max_extents * SPILL_EXTENT;
}

int64_t spill_used(const Spill *s)
{
    return s->used_extents * SPILL_EXTENT;
}

size_t spill_memory(const Spill *s)
{
    return sizeof(*s) + spill_index_memory(s->index) + sparse_bitmap_memory(s->held) +
           s->used->len * sizeof(uint32_t) + s->free->len * sizeof(int64_t);
}
