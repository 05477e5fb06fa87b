/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tree inside a SparseBitmap; private to the sparse-*.c files.
 *
 * A node at level L has 64 children: leaves (pages) at level 1, nodes of level L - 1 above. A
 * child is in one of three states, told by two bits in its parent:
 *
 *     zeroes   neither          nothing below it is set; no memory
 *     ones     bit in @ones     all below it is set, up to the end of the bitmap; no memory
 *     mixed    bit in @mixed    it has a page or a node, and is not uniform
 *
 * Between two public calls no mixed child is uniform: so a child that is not zeroes (ones) is
 * sure to hold a set (clear) bit, and a search never goes down in vain. Children past the end of
 * the bitmap are zeroes; so are the bits of the last page past it.
 *
 * "Child (node, level, i)" below is child i of a node at that level; @base is the first bit of
 * the node, or of the child where it is said so. All indexes of bits are absolute.
 */
#ifndef BITMAP_SPARSE_TREE_H
#define BITMAP_SPARSE_TREE_H

#include "bitmap/sparse-bitmap.h"

#define SPARSE_FANOUT_SHIFT 6
#define SPARSE_FANOUT (1u << SPARSE_FANOUT_SHIFT)
#define SPARSE_LEAF_SHIFT 15

G_STATIC_ASSERT(1u << SPARSE_LEAF_SHIFT == SPARSE_LEAF_BITS);

typedef struct SparseNode SparseNode;

typedef union SparseChild {
    SparseNode *node; /* level > 1 */
    uint64_t *page;   /* level 1 */
} SparseChild;

struct SparseNode {
    uint64_t mixed;
    uint64_t ones;
    SparseChild child[SPARSE_FANOUT]; /* valid where mixed */
    /* Level 1, of each mixed leaf: */
    uint16_t count[SPARSE_FANOUT]; /* its population */
    uint64_t lines[SPARSE_FANOUT]; /* its summary (sparse-words.h); may have bits too many */
};

struct SparseBitmap {
    uint64_t nbits;
    uint64_t count; /* bits set */
    unsigned levels;
    const PageProvider *provider;
    void *opaque;
    uint64_t nodes; /* held, for sparse_bitmap_memory(); the root not counted */
    uint64_t pages;
    SparseNode root; /* at level @levels, base 0; never released */
};

/* Turns a zeroed structure into an empty bitmap. */
void sparse_tree_init(SparseBitmap *b, uint64_t nbits, const PageProvider *provider, void *opaque);

/* log2 of the bits below one child of a node at @level. */
static inline unsigned sparse_shift(unsigned level)
{
    return SPARSE_LEAF_SHIFT + (level - 1) * SPARSE_FANOUT_SHIFT;
}

/* Which child of a node at @level holds @bit. */
static inline unsigned sparse_slot(unsigned level, uint64_t bit)
{
    return bit >> sparse_shift(level) & (SPARSE_FANOUT - 1);
}

/* The first bit of child i of a node at @level that begins at @base. */
static inline uint64_t sparse_child_base(unsigned level, uint64_t base, unsigned i)
{
    return base + ((uint64_t)i << sparse_shift(level));
}

/* The end of the child of a node at @level whose first bit is @base (< nbits). */
static inline uint64_t sparse_child_end(const SparseBitmap *b, unsigned level, uint64_t base)
{
    uint64_t span = (uint64_t)1 << sparse_shift(level);

    return MIN(base + span, b->nbits);
}

/* The children of the node at @level and @base that begin inside the bitmap. */
uint64_t sparse_valid_children(const SparseBitmap *b, unsigned level, uint64_t base);

/* The node at level 1 and the slot of the leaf that holds @bit, if that leaf is mixed; else NULL,
 * with *ones telling which uniform state it is in. */
static inline SparseNode *sparse_find_leaf(const SparseBitmap *b, uint64_t bit, unsigned *slot,
                                           bool *ones)
{
    const SparseNode *node = &b->root;

    for (unsigned level = b->levels;; level--) {
        unsigned i = sparse_slot(level, bit);

        if (!(node->mixed >> i & 1)) {
            *ones = node->ones >> i & 1;
            return NULL;
        }
        if (level == 1) {
            *slot = i;
            return (SparseNode *)node;
        }
        node = node->child[i].node;
    }
}

/* --- Changing a child; @base is that of the child --- */

/* Gives a uniform child a node of the same content; returns it. */
SparseNode *sparse_split(SparseBitmap *b, SparseNode *node, unsigned level, unsigned i,
                         uint64_t base);

/* Makes a child uniform; returns how many bits changed. */
uint64_t sparse_make_uniform(SparseBitmap *b, SparseNode *node, unsigned level, unsigned i,
                             uint64_t base, bool value);

/* Releases what a mixed child holds if it has become uniform. */
void sparse_settle(SparseBitmap *b, SparseNode *node, unsigned level, unsigned i, uint64_t base);

/* A page of the provider for the leaf at @base; its content is undefined. */
uint64_t *sparse_get_page(SparseBitmap *b, uint64_t base);

/* Makes leaf child i of a node at level 1, which had no page, a mixed one with @count bits set and
 * the summary @lines. */
void sparse_attach_page(SparseBitmap *b, SparseNode *node, unsigned i, uint64_t *page,
                        unsigned count, uint64_t lines);

/* Makes [from, to), not empty, of the page of a mixed leaf @value; returns how many bits changed.
 * The caller settles the leaf if it can have become uniform. */
unsigned sparse_fill_page(SparseNode *node, unsigned i, unsigned from, unsigned to, bool value);

SparseNode *sparse_node_new(SparseBitmap *b);
void sparse_node_free(SparseBitmap *b, SparseNode *node);

/* Makes [start, end), not empty, below the node @value; returns how many bits changed. Does not
 * touch b->count. @base is that of the node. */
uint64_t sparse_fill(SparseBitmap *b, SparseNode *node, unsigned level, uint64_t base,
                     uint64_t start, uint64_t end, bool value);

#endif
