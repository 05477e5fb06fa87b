/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Staging memory; see staging.h. */
#include "block/copy/staging.h"

#include <errno.h>
#include <stdlib.h>

/* Pages are cut from slabs, which stay until the end of the copy. */
#define SLAB_BYTES ((size_t)STAGING_MAX_BLOCK)
#define PAGE_ALIGN 4096

/*
 * The longest that a guest write waits for room without any becoming free.  After that the target
 * is taken for dead, and the backup fails rather than the guest.
 */
#define ROOM_LIMIT_NS (INT64_C(15) * 1000000000)
/* In a hurry: how long there may be somebody waiting. */
#define HURRY_LIMIT_NS (INT64_C(250) * 1000000)

/* A free page holds the link to the next. */
typedef struct FreePage {
    struct FreePage *next;
} FreePage;

struct Staging {
    size_t block_size;
    size_t capacity;
    _Atomic size_t used;
    int64_t room_limit_ns;
    GPtrArray *slabs;
    FreePage *free;
    GHashTable *pages; /* block + 1 to page */
    SparseBitmap *held;
    CoMutex turn; /* whose turn it is to wait for room: makes the wait fair */
    CoQueue room;
    unsigned waiting;
    uint64_t waits;
    int64_t waiting_since; /* when waiting became more than 0, or the hurry began */
    bool may_hurry; /* nobody has said how long to wait */
    bool hurry, stopped;
};

Staging *staging_new(uint64_t n_blocks, size_t block_size, size_t max_bytes,
                     int64_t room_limit_ns)
{
    Staging *s = g_new0(Staging, 1);

    g_assert(max_bytes >= 2 * SLAB_BYTES && block_size <= SLAB_BYTES);
    s->block_size = block_size;
    s->capacity = max_bytes / block_size;
    s->room_limit_ns = room_limit_ns ? room_limit_ns : ROOM_LIMIT_NS;
    s->may_hurry = room_limit_ns == 0;
    s->slabs = g_ptr_array_new_with_free_func(free);
    s->pages = g_hash_table_new(NULL, NULL);
    s->held = sparse_bitmap_new(n_blocks);
    return s;
}

void staging_free(Staging *s)
{
    if (!s) {
        return;
    }
    g_assert(s->waiting == 0);
    g_ptr_array_free(s->slabs, true);
    g_hash_table_destroy(s->pages);
    sparse_bitmap_free(s->held);
    g_free(s);
}

static bool has_room(const Staging *s, size_t n)
{
    return s->capacity - s->used >= n;
}

static int64_t deadline_of(const Staging *s)
{
    return s->hurry ? s->waiting_since + HURRY_LIMIT_NS : loop_now_ns() + s->room_limit_ns;
}

/* Whoever has the turn.  The limit counts from the last time that any room became free. */
static int co_wait_room(Staging *s, size_t n)
{
    while (!s->stopped && !has_room(s, n)) {
        if (!co_queue_wait_until(&s->room, deadline_of(s))) {
            return -ENOBUFS;
        }
    }
    return s->stopped ? -ECANCELED : 0;
}

void staging_set_hurry(Staging *s, bool hurry)
{
    if (s->may_hurry && hurry != s->hurry) {
        s->hurry = hurry;
        s->waiting_since = loop_now_ns();
        co_queue_wake_all(&s->room);
    }
}

int co_staging_reserve(Staging *s, size_t n)
{
    int ret;

    g_assert(n <= s->capacity);
    if (G_LIKELY(!s->stopped && !s->waiting && has_room(s, n))) {
        s->used += n;
        return 0;
    }
    if (s->waiting++ == 0) {
        s->waiting_since = loop_now_ns();
    }
    s->waits++;
    co_mutex_lock(&s->turn);
    ret = co_wait_room(s, n);
    if (ret == 0) {
        s->used += n;
    }
    s->waiting--;
    co_mutex_unlock(&s->turn);
    return ret;
}

void staging_stop(Staging *s)
{
    s->stopped = true;
    co_queue_wake_all(&s->room);
}

static bool add_slab(Staging *s)
{
    char *slab = aligned_alloc(PAGE_ALIGN, SLAB_BYTES);

    if (!slab) {
        return false;
    }
    g_ptr_array_add(s->slabs, slab);
    for (size_t at = 0; at + s->block_size <= SLAB_BYTES; at += s->block_size) {
        FreePage *page = (FreePage *)(slab + at);

        page->next = s->free;
        s->free = page;
    }
    return true;
}

void *staging_page(Staging *s)
{
    FreePage *page;

    if (!s->free && !add_slab(s)) {
        return NULL;
    }
    page = s->free;
    s->free = page->next;
    return page;
}

void staging_page_free(Staging *s, void *page)
{
    FreePage *free_page = page;

    if (free_page) {
        free_page->next = s->free;
        s->free = free_page;
    }
    s->used--;
    co_queue_wake_one(&s->room);
}

static void *key_of(uint64_t block)
{
    return GSIZE_TO_POINTER(block + 1);
}

void staging_hold(Staging *s, uint64_t block, void *page)
{
    bool is_new = g_hash_table_insert(s->pages, key_of(block), page);

    g_assert(is_new);
    sparse_bitmap_set(s->held, block, 1);
}

const void *staging_look(const Staging *s, uint64_t block)
{
    return g_hash_table_lookup(s->pages, key_of(block));
}

void *staging_take(Staging *s, uint64_t block)
{
    void *page = g_hash_table_lookup(s->pages, key_of(block));

    if (page) {
        g_hash_table_remove(s->pages, key_of(block));
        sparse_bitmap_clear(s->held, block, 1);
    }
    return page;
}

const SparseBitmap *staging_held(const Staging *s)
{
    return s->held;
}

size_t staging_used(const Staging *s)
{
    return s->used;
}

size_t staging_capacity(const Staging *s)
{
    return s->capacity;
}

uint64_t staging_waits(const Staging *s)
{
    return s->waits;
}

bool staging_wanted(const Staging *s)
{
    return s->waiting > 0;
}
