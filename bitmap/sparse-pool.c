/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pages in memory for one SparseBitmap; see sparse-pool.h. */
#include "bitmap/sparse-pool.h"

#include <stdlib.h>
#include <sys/mman.h>

#define SLAB_SIZE ((size_t)2 << 20) /* and its alignment */
#define SLAB_PAGES (SLAB_SIZE / SPARSE_PAGE_SIZE)
#define SINGLE_PAGES 256u

typedef struct Slab {
    GList link; /* in pool->roomy if a page is free; data is the slab */
    uint8_t *memory;
    unsigned used;   /* pages given out */
    unsigned fresh;  /* pages never given out, at the end of the memory */
    uint64_t *freed; /* pages put back, each with the address of the next in its first word */
} Slab;

struct SparsePool {
    unsigned single;   /* pages allocated singly */
    unsigned used;     /* pages given out from slabs */
    GHashTable *slabs; /* memory -> Slab */
    GQueue roomy;
};

SparsePool *sparse_pool_new(void)
{
    return g_new0(SparsePool, 1);
}

static unsigned slab_count(const SparsePool *pool)
{
    return pool->slabs ? g_hash_table_size(pool->slabs) : 0;
}

void sparse_pool_free(SparsePool *pool)
{
    g_assert(pool->single == 0 && slab_count(pool) == 0);
    g_clear_pointer(&pool->slabs, g_hash_table_unref);
    g_free(pool);
}

size_t sparse_pool_slack(const SparsePool *pool)
{
    return sizeof(*pool) + slab_count(pool) * (SLAB_SIZE + sizeof(Slab)) -
           (size_t)pool->used * SPARSE_PAGE_SIZE;
}

static Slab *slab_new(SparsePool *pool)
{
    Slab *slab = g_new0(Slab, 1);

    slab->memory = aligned_alloc(SLAB_SIZE, SLAB_SIZE);
    if (!slab->memory) {
        g_error("cannot allocate %zu bytes for the pages of a bitmap", SLAB_SIZE);
    }
    madvise(slab->memory, SLAB_SIZE, MADV_HUGEPAGE); /* only speed depends on it */
    slab->fresh = SLAB_PAGES;
    slab->link.data = slab;
    if (!pool->slabs) {
        pool->slabs = g_hash_table_new(NULL, NULL);
    }
    g_hash_table_insert(pool->slabs, slab->memory, slab);
    g_queue_push_head_link(&pool->roomy, &slab->link);
    return slab;
}

static void slab_free(SparsePool *pool, Slab *slab)
{
    g_queue_unlink(&pool->roomy, &slab->link);
    g_hash_table_remove(pool->slabs, slab->memory);
    free(slab->memory);
    g_free(slab);
}

static uint64_t *slab_get(SparsePool *pool)
{
    Slab *slab = pool->roomy.head ? pool->roomy.head->data : slab_new(pool);
    uint64_t *page = slab->freed;

    if (page) {
        slab->freed = (uint64_t *)(uintptr_t)page[0];
    } else {
        page = (uint64_t *)(slab->memory + (SLAB_PAGES - slab->fresh--) * SPARSE_PAGE_SIZE);
    }
    pool->used++;
    if (++slab->used == SLAB_PAGES) {
        g_queue_unlink(&pool->roomy, &slab->link);
    }
    return page;
}

static void slab_put(SparsePool *pool, Slab *slab, uint64_t *page)
{
    page[0] = (uintptr_t)slab->freed;
    slab->freed = page;
    pool->used--;
    if (slab->used-- == SLAB_PAGES) {
        g_queue_push_head_link(&pool->roomy, &slab->link);
    }
    if (slab->used == 0) {
        slab_free(pool, slab);
    }
}

static uint64_t *pool_get(void *opaque, uint64_t leaf_index)
{
    SparsePool *pool = opaque;

    if (pool->single == SINGLE_PAGES) {
        return slab_get(pool);
    }
    pool->single++;
    return g_malloc(SPARSE_PAGE_SIZE);
}

static void pool_put(void *opaque, uint64_t leaf_index, uint64_t *page)
{
    SparsePool *pool = opaque;
    void *memory = (void *)((uintptr_t)page & ~(uintptr_t)(SLAB_SIZE - 1));
    Slab *slab = pool->slabs ? g_hash_table_lookup(pool->slabs, memory) : NULL;

    if (slab) {
        slab_put(pool, slab, page);
        return;
    }
    pool->single--;
    g_free(page);
}

const PageProvider sparse_pool_provider = {
    .get = pool_get,
    .put = pool_put,
};
