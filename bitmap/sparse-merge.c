/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What takes one SparseBitmap into another: merge, copy, merge between scales, resize. */
#include "bitmap/sparse-tree.h"
#include "bitmap/sparse-words.h"

#include <string.h>

/* Gives child (node, level, i), which is zeroes, the content of the same child of another tree,
 * which is mixed; returns how many bits that has set. @base is that of the child. */
static uint64_t clone_child(SparseBitmap *dst, SparseNode *node, const SparseNode *from,
                            unsigned level, unsigned i, uint64_t base)
{
    uint64_t count = 0;
    SparseNode *child;

    if (level == 1) {
        uint64_t *page = sparse_get_page(dst, base);

        sparse_words_copy(page, from->child[i].page, from->lines[i]);
        sparse_attach_page(dst, node, i, page, from->count[i], from->lines[i]);
        return from->count[i];
    }
    child = sparse_split(dst, node, level, i, base);
    from = from->child[i].node;
    for (uint64_t left = from->mixed | from->ones; left; left &= left - 1) {
        unsigned j = __builtin_ctzll(left);
        uint64_t below = sparse_child_base(level - 1, base, j);

        if (from->ones >> j & 1) {
            count += sparse_make_uniform(dst, child, level - 1, j, below, true);
        } else {
            count += clone_child(dst, child, from, level - 1, j, below);
        }
    }
    return count;
}

static uint64_t merge_node(SparseBitmap *dst, SparseNode *node, const SparseNode *from,
                           unsigned level, uint64_t base);

/* Merges a child of @from that is mixed into one that is not ones. @base is that of the child. */
static uint64_t merge_child(SparseBitmap *dst, SparseNode *node, const SparseNode *from,
                            unsigned level, unsigned i, uint64_t base)
{
    uint64_t changed;

    if (!(node->mixed >> i & 1)) {
        return clone_child(dst, node, from, level, i, base);
    }
    if (level == 1) {
        changed = sparse_words_merge(node->child[i].page, from->child[i].page, from->lines[i]);
        node->count[i] += changed;
        node->lines[i] |= from->lines[i];
    } else {
        changed = merge_node(dst, node->child[i].node, from->child[i].node, level - 1, base);
    }
    sparse_settle(dst, node, level, i, base);
    return changed;
}

/* @base is that of both nodes; returns how many bits changed. */
static uint64_t merge_node(SparseBitmap *dst, SparseNode *node, const SparseNode *from,
                           unsigned level, uint64_t base)
{
    uint64_t changed = 0;

    for (uint64_t left = (from->mixed | from->ones) & ~node->ones; left; left &= left - 1) {
        unsigned i = __builtin_ctzll(left);
        uint64_t child = sparse_child_base(level, base, i);

        if (from->ones >> i & 1) {
            changed += sparse_make_uniform(dst, node, level, i, child, true);
        } else {
            changed += merge_child(dst, node, from, level, i, child);
        }
    }
    return changed;
}

uint64_t sparse_bitmap_merge(SparseBitmap *dst, const SparseBitmap *src)
{
    uint64_t changed;

    g_assert(dst->nbits == src->nbits);
    if (dst == src) {
        return 0;
    }
    changed = merge_node(dst, &dst->root, &src->root, dst->levels, 0);
    dst->count += changed;
    return changed;
}

SparseBitmap *sparse_bitmap_copy(const SparseBitmap *b)
{
    SparseBitmap *copy = sparse_bitmap_new(b->nbits);

    sparse_bitmap_merge(copy, b);
    return copy;
}

/* A bit of @src is 2^shift bits of @dst. */
static uint64_t merge_coarser(SparseBitmap *dst, const SparseBitmap *src, unsigned shift)
{
    uint64_t end = (dst->nbits + ((uint64_t)1 << shift) - 1) >> shift;
    uint64_t changed = 0, start = 0, count;

    while (sparse_bitmap_next_run(src, start, end, &start, &count)) {
        uint64_t first = start << shift;
        uint64_t last = MIN((start + count) << shift, dst->nbits);

        changed += sparse_bitmap_set(dst, first, last - first);
        start += count;
    }
    return changed;
}

/* 2^shift bits of @src are a bit of @dst. */
static uint64_t merge_finer(SparseBitmap *dst, const SparseBitmap *src, unsigned shift)
{
    uint64_t changed = 0, start = 0, count;

    while (sparse_bitmap_next_run(src, start, UINT64_MAX, &start, &count)) {
        uint64_t first = start >> shift;
        uint64_t end = MIN(((start + count - 1) >> shift) + 1, dst->nbits);

        if (first >= end) {
            break;
        }
        changed += sparse_bitmap_set(dst, first, end - first);
        start = end << shift;
    }
    return changed;
}

uint64_t sparse_bitmap_merge_scaled(SparseBitmap *dst, const SparseBitmap *src, int shift)
{
    g_assert(dst != src && shift > -64 && shift < 64);
    if (shift > 0) {
        return merge_coarser(dst, src, shift);
    }
    if (shift < 0) {
        return merge_finer(dst, src, -shift);
    }
    return sparse_bitmap_merge(dst, src);
}

void sparse_bitmap_adopt_leaf(SparseBitmap *b, uint64_t leaf_index, uint64_t *page)
{
    uint64_t base = leaf_index << SPARSE_LEAF_SHIFT;
    SparseNode *node = &b->root;
    uint64_t end, count;
    unsigned slot;

    g_assert(leaf_index <= b->nbits >> SPARSE_LEAF_SHIFT && base < b->nbits);
    end = sparse_child_end(b, 1, base);
    count = sparse_words_count(page, 0, SPARSE_LEAF_BITS);
    g_assert(count == sparse_words_count(page, 0, end - base));

    if (count == 0 || count == end - base) {
        b->provider->put(b->opaque, leaf_index, page);
        sparse_bitmap_set(b, base, count);
        return;
    }
    for (unsigned level = b->levels; level > 1; level--) {
        unsigned i = sparse_slot(level, base);
        uint64_t span = (uint64_t)1 << sparse_shift(level);

        g_assert(!(node->ones >> i & 1));
        node = node->mixed >> i & 1 ? node->child[i].node
                                    : sparse_split(b, node, level, i, base & ~(span - 1));
    }
    slot = sparse_slot(1, base);
    g_assert(!((node->mixed | node->ones) >> slot & 1));
    sparse_attach_page(b, node, slot, page, count, ~(uint64_t)0);
    b->count += count;
}

/* Takes all below a node of the tree that @b had at its former size into the one it has now, and
 * frees the node's children. Pages stay where they are. */
static void replant(SparseBitmap *b, const SparseBitmap *old, const SparseNode *node,
                    unsigned level, uint64_t base)
{
    for (uint64_t left = node->mixed | node->ones; left; left &= left - 1) {
        unsigned i = __builtin_ctzll(left);
        uint64_t child = sparse_child_base(level, base, i);

        if (node->ones >> i & 1) {
            sparse_bitmap_set(b, child, sparse_child_end(old, level, child) - child);
        } else if (level == 1) {
            sparse_bitmap_adopt_leaf(b, child >> SPARSE_LEAF_SHIFT, node->child[i].page);
        } else {
            replant(b, old, node->child[i].node, level - 1, child);
            g_free(node->child[i].node);
        }
    }
}

void sparse_bitmap_resize(SparseBitmap *b, uint64_t nbits)
{
    SparseBitmap old;

    if (nbits == b->nbits) {
        return;
    }
    if (nbits < b->nbits) {
        sparse_bitmap_clear(b, nbits, b->nbits - nbits);
    }
    /* What is uniform depends on where the end cuts it, at every level: plant the tree anew. */
    old = *b;
    memset(b, 0, sizeof(*b));
    sparse_tree_init(b, nbits, old.provider, old.opaque);
    replant(b, &old, &old.root, old.levels, 0);
}
