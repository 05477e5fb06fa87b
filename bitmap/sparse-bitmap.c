/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of a SparseBitmap and its single bits; see sparse-bitmap.h. */
#include "bitmap/sparse-pool.h"
#include "bitmap/sparse-tree.h"
#include "bitmap/sparse-words.h"

#include <string.h>

SparseBitmap *sparse_bitmap_new_with_pages(uint64_t nbits, const PageProvider *provider,
                                           void *opaque)
{
    SparseBitmap *b = g_new0(SparseBitmap, 1);

    sparse_tree_init(b, nbits, provider, opaque);
    return b;
}

SparseBitmap *sparse_bitmap_new(uint64_t nbits)
{
    return sparse_bitmap_new_with_pages(nbits, &sparse_pool_provider, sparse_pool_new());
}

void sparse_bitmap_free(SparseBitmap *b)
{
    if (!b) {
        return;
    }
    sparse_bitmap_clear_all(b);
    if (b->provider == &sparse_pool_provider) {
        sparse_pool_free(b->opaque);
    }
    g_free(b);
}

uint64_t sparse_bitmap_size(const SparseBitmap *b)
{
    return b->nbits;
}

uint64_t sparse_bitmap_count(const SparseBitmap *b)
{
    return __atomic_load_n(&b->count, __ATOMIC_RELAXED);
}

size_t sparse_bitmap_memory(const SparseBitmap *b)
{
    size_t slack = b->provider == &sparse_pool_provider ? sparse_pool_slack(b->opaque) : 0;

    return sizeof(*b) + b->nodes * sizeof(SparseNode) + b->pages * SPARSE_PAGE_SIZE + slack;
}

bool sparse_bitmap_get(const SparseBitmap *b, uint64_t bit)
{
    unsigned slot;
    bool ones;
    const SparseNode *node;

    g_assert(bit < b->nbits);
    node = sparse_find_leaf(b, bit, &slot, &ones);
    return node ? sparse_words_get(node->child[slot].page, bit % SPARSE_LEAF_BITS) : ones;
}

/* The hot path: [start, end) lies in one leaf, which is sure to stay mixed or is @value already.
 * Returns false if that is not so (nothing is changed). */
static bool fill_one_leaf(SparseBitmap *b, uint64_t start, uint64_t end, bool value,
                          unsigned *changed)
{
    unsigned slot, room, from = start % SPARSE_LEAF_BITS;
    bool ones;
    SparseNode *node;

    if ((start ^ (end - 1)) >> SPARSE_LEAF_SHIFT) {
        return false;
    }
    node = sparse_find_leaf(b, start, &slot, &ones);
    if (!node) {
        *changed = 0;
        return ones == value;
    }
    room = value ? sparse_child_end(b, 1, start - from) - (start - from) - node->count[slot]
                 : node->count[slot];
    if (room <= end - start) {
        return false;
    }
    *changed = sparse_fill_page(node, slot, from, from + (end - start), value);
    return true;
}

static uint64_t fill(SparseBitmap *b, uint64_t start, uint64_t count, bool value)
{
    uint64_t changed;
    unsigned quick;

    g_assert(start <= b->nbits && count <= b->nbits - start);
    if (count == 0) {
        return 0;
    }
    if (fill_one_leaf(b, start, start + count, value, &quick)) {
        changed = quick;
    } else {
        changed = sparse_fill(b, &b->root, b->levels, 0, start, start + count, value);
    }
    /* Queries on another thread read it: whole, if not in step with the bits. */
    __atomic_store_n(&b->count, b->count + (value ? changed : -changed), __ATOMIC_RELAXED);
    return changed;
}

uint64_t sparse_bitmap_set(SparseBitmap *b, uint64_t start, uint64_t count)
{
    return fill(b, start, count, true);
}

uint64_t sparse_bitmap_clear(SparseBitmap *b, uint64_t start, uint64_t count)
{
    return fill(b, start, count, false);
}

void sparse_bitmap_set_all(SparseBitmap *b)
{
    sparse_bitmap_set(b, 0, b->nbits);
}

void sparse_bitmap_clear_all(SparseBitmap *b)
{
    sparse_bitmap_clear(b, 0, b->nbits);
}

/* The content of the leaf that begins at bit @base, in little-endian words. */
static void copy_leaf(const SparseBitmap *b, uint64_t base, uint64_t *words)
{
    unsigned slot;
    bool ones;
    const SparseNode *node = sparse_find_leaf(b, base, &slot, &ones);

    if (node) {
        memcpy(words, node->child[slot].page, SPARSE_PAGE_SIZE);
    } else {
        memset(words, 0, SPARSE_PAGE_SIZE);
        if (ones) {
            sparse_words_fill(words, 0, sparse_child_end(b, 1, base) - base, true);
        }
    }
    for (unsigned w = 0; w < SPARSE_PAGE_SIZE / sizeof(*words); w++) {
        words[w] = GUINT64_TO_LE(words[w]);
    }
}

char *sparse_bitmap_sha256(const SparseBitmap *b)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    uint64_t words[SPARSE_PAGE_SIZE / sizeof(uint64_t)] = {0};

    if (b->nbits == 0) {
        g_checksum_update(sum, (const guchar *)words, sizeof(*words));
    }
    for (uint64_t base = 0; base < b->nbits; base += SPARSE_LEAF_BITS) {
        uint64_t nwords = (sparse_child_end(b, 1, base) - base + 63) / 64;

        copy_leaf(b, base, words);
        g_checksum_update(sum, (const guchar *)words, nwords * sizeof(*words));
    }
    return g_strdup(g_checksum_get_string(sum));
}
