/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the blocks of the spill file are; see spill-index.h.
 *
 * Linear hashing: with n buckets, of which low (the highest power of two up to n) are the first
 * ones, a hash belongs to bucket hash mod 2 * low where there is such a one yet, else to hash mod
 * low.  The next bucket, n, therefore takes its entries from bucket n - low alone.  There are as
 * many buckets as entries at the most, so that a chain has one or two of them.
 */
#include "block/copy/spill-index.h"

#include <string.h>

#define PAGE_SLOTS 1024
#define NO_BLOCK UINT64_MAX
#define NO_SLOT UINT32_MAX

typedef struct EntryPage {
    uint64_t block[PAGE_SLOTS];
    uint32_t next[PAGE_SLOTS]; /* slot, in the same bucket */
} EntryPage;

typedef struct BucketPage {
    uint32_t first[PAGE_SLOTS]; /* slot */
} BucketPage;

struct SpillIndex {
    GPtrArray *entries; /* of EntryPage, by slot */
    GPtrArray *buckets; /* of BucketPage */
    uint64_t n_buckets, low, count;
    uint64_t factor; /* of the hash: nobody outside can choose blocks that share a bucket */
};

static void add_buckets(SpillIndex *x)
{
    BucketPage *page = g_new(BucketPage, 1);

    memset(page, 0xff, sizeof(*page)); /* NO_SLOT */
    g_ptr_array_add(x->buckets, page);
}

SpillIndex *spill_index_new(void)
{
    SpillIndex *x = g_new0(SpillIndex, 1);

    x->entries = g_ptr_array_new_with_free_func(g_free);
    x->buckets = g_ptr_array_new_with_free_func(g_free);
    x->factor = ((uint64_t)g_random_int() << 32 | g_random_int()) | 1;
    x->n_buckets = x->low = PAGE_SLOTS;
    add_buckets(x);
    return x;
}

void spill_index_free(SpillIndex *x)
{
    if (!x) {
        return;
    }
    g_ptr_array_free(x->entries, true);
    g_ptr_array_free(x->buckets, true);
    g_free(x);
}

static uint64_t *block_of(const SpillIndex *x, uint32_t slot)
{
    EntryPage *page = x->entries->pdata[slot / PAGE_SLOTS];

    return &page->block[slot % PAGE_SLOTS];
}

static uint32_t *next_of(const SpillIndex *x, uint32_t slot)
{
    EntryPage *page = x->entries->pdata[slot / PAGE_SLOTS];

    return &page->next[slot % PAGE_SLOTS];
}

static uint32_t *first_of(const SpillIndex *x, uint64_t bucket)
{
    BucketPage *page = x->buckets->pdata[bucket / PAGE_SLOTS];

    return &page->first[bucket % PAGE_SLOTS];
}

static uint64_t bucket_of(const SpillIndex *x, uint64_t block)
{
    uint64_t hash = block * x->factor, bucket;

    hash = (hash ^ hash >> 32) * x->factor >> 24;
    bucket = hash & (2 * x->low - 1);
    return bucket < x->n_buckets ? bucket : hash & (x->low - 1);
}

/* Where the link to the slot of @block is, or to NO_SLOT where there is none. */
static uint32_t *link_to(const SpillIndex *x, uint64_t block)
{
    uint32_t *link = first_of(x, bucket_of(x, block));

    while (*link != NO_SLOT && *block_of(x, *link) != block) {
        link = next_of(x, *link);
    }
    return link;
}

/* --- growth: by one bucket --- */

static void add_bucket(SpillIndex *x)
{
    uint64_t new = x->n_buckets;
    uint32_t *link = first_of(x, new - x->low), *to;

    if (new % PAGE_SLOTS == 0) {
        add_buckets(x);
    }
    to = first_of(x, new);
    x->n_buckets++;
    for (uint32_t slot; (slot = *link) != NO_SLOT;) {
        if (bucket_of(x, *block_of(x, slot)) == new) {
            *link = *next_of(x, slot);
            *next_of(x, slot) = *to;
            *to = slot;
        } else {
            link = next_of(x, slot);
        }
    }
    if (x->n_buckets == 2 * x->low) {
        x->low *= 2;
    }
}

static void add_entries(SpillIndex *x)
{
    EntryPage *page = g_new(EntryPage, 1);

    memset(page->block, 0xff, sizeof(page->block)); /* NO_BLOCK */
    g_ptr_array_add(x->entries, page);
}

/* --- entries --- */

void spill_index_add(SpillIndex *x, uint64_t block, int64_t slot)
{
    uint32_t *first;

    g_assert(block != NO_BLOCK && slot < SPILL_INDEX_MAX_SLOTS);
    while (slot >= (int64_t)x->entries->len * PAGE_SLOTS) {
        add_entries(x);
    }
    g_assert(*block_of(x, slot) == NO_BLOCK && *link_to(x, block) == NO_SLOT);
    first = first_of(x, bucket_of(x, block));
    *block_of(x, slot) = block;
    *next_of(x, slot) = *first;
    *first = slot;
    if (++x->count > x->n_buckets) {
        add_bucket(x);
    }
}

int64_t spill_index_remove(SpillIndex *x, uint64_t block)
{
    uint32_t *link = link_to(x, block), slot = *link;

    if (slot == NO_SLOT) {
        return -1;
    }
    *link = *next_of(x, slot);
    *block_of(x, slot) = NO_BLOCK;
    x->count--;
    return slot;
}

int64_t spill_index_slot(const SpillIndex *x, uint64_t block)
{
    uint32_t slot = *link_to(x, block);

    return slot == NO_SLOT ? -1 : (int64_t)slot;
}

bool spill_index_holds(const SpillIndex *x, int64_t slot, uint64_t block)
{
    return slot < (int64_t)x->entries->len * PAGE_SLOTS && *block_of(x, slot) == block;
}

size_t spill_index_memory(const SpillIndex *x)
{
    return sizeof(*x) + x->entries->len * (sizeof(EntryPage) + sizeof(void *)) +
           x->buckets->len * (sizeof(BucketPage) + sizeof(void *));
}
