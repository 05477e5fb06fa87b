/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How the tree of a SparseBitmap grows and shrinks; see sparse-tree.h. */
#include "bitmap/sparse-tree.h"

#include "bitmap/sparse-words.h"

#include <string.h>

void sparse_tree_init(SparseBitmap *b, uint64_t nbits, const PageProvider *provider, void *opaque)
{
    g_assert(nbits <= SPARSE_BITMAP_MAX_BITS);
    b->nbits = nbits;
    b->provider = provider;
    b->opaque = opaque;
    b->levels = 1;
    while (nbits > (uint64_t)1 << sparse_shift(b->levels + 1)) {
        b->levels++;
    }
}

uint64_t sparse_valid_children(const SparseBitmap *b, unsigned level, uint64_t base)
{
    uint64_t span = (uint64_t)1 << sparse_shift(level);
    uint64_t n = (b->nbits - base + span - 1) / span;

    return n >= SPARSE_FANOUT ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1;
}

SparseNode *sparse_node_new(SparseBitmap *b)
{
    SparseNode *node = g_new(SparseNode, 1);

    node->mixed = node->ones = 0;
    b->nodes++;
    return node;
}

void sparse_node_free(SparseBitmap *b, SparseNode *node)
{
    b->nodes--;
    g_free(node);
}

void sparse_attach_page(SparseBitmap *b, SparseNode *node, unsigned i, uint64_t *page,
                        unsigned count, uint64_t lines)
{
    uint64_t bit = (uint64_t)1 << i;

    b->pages++;
    node->mixed |= bit;
    node->ones &= ~bit;
    node->child[i].page = page;
    node->count[i] = count;
    node->lines[i] = lines;
}

uint64_t *sparse_get_page(SparseBitmap *b, uint64_t base)
{
    return b->provider->get(b->opaque, base >> SPARSE_LEAF_SHIFT);
}

static void put_page(SparseBitmap *b, uint64_t *page, uint64_t base)
{
    b->pages--;
    b->provider->put(b->opaque, base >> SPARSE_LEAF_SHIFT, page);
}

SparseNode *sparse_split(SparseBitmap *b, SparseNode *node, unsigned level, unsigned i,
                         uint64_t base)
{
    uint64_t bit = (uint64_t)1 << i;
    SparseNode *child = sparse_node_new(b);

    if (node->ones & bit) {
        child->ones = sparse_valid_children(b, level - 1, base);
    }
    node->mixed |= bit;
    node->ones &= ~bit;
    node->child[i].node = child;
    return child;
}

/* Frees what a child holds, leaving its state to the caller; returns how many bits it had set. */
static uint64_t release(SparseBitmap *b, SparseNode *node, unsigned level, unsigned i,
                        uint64_t base)
{
    uint64_t bit = (uint64_t)1 << i;
    uint64_t count = 0;
    SparseNode *child;

    if (node->ones & bit) {
        return sparse_child_end(b, level, base) - base;
    }
    if (!(node->mixed & bit)) {
        return 0;
    }
    if (level == 1) {
        put_page(b, node->child[i].page, base);
        return node->count[i];
    }
    child = node->child[i].node;
    for (uint64_t left = child->mixed | child->ones; left; left &= left - 1) {
        unsigned j = __builtin_ctzll(left);

        count += release(b, child, level - 1, j, sparse_child_base(level - 1, base, j));
    }
    sparse_node_free(b, child);
    return count;
}

uint64_t sparse_make_uniform(SparseBitmap *b, SparseNode *node, unsigned level, unsigned i,
                             uint64_t base, bool value)
{
    uint64_t bit = (uint64_t)1 << i;
    uint64_t count = release(b, node, level, i, base);

    node->mixed &= ~bit;
    if (!value) {
        node->ones &= ~bit;
        return count;
    }
    node->ones |= bit;
    return sparse_child_end(b, level, base) - base - count;
}

void sparse_settle(SparseBitmap *b, SparseNode *node, unsigned level, unsigned i, uint64_t base)
{
    const SparseNode *child = node->child[i].node;
    bool zeroes, ones;

    if (level == 1) {
        zeroes = node->count[i] == 0;
        ones = node->count[i] == sparse_child_end(b, level, base) - base;
    } else {
        zeroes = !(child->mixed | child->ones);
        ones = child->ones == sparse_valid_children(b, level - 1, base);
    }
    if (zeroes || ones) {
        sparse_make_uniform(b, node, level, i, base, ones);
    }
}

/* A page for a uniform leaf, of the same content. */
static void split_leaf(SparseBitmap *b, SparseNode *node, unsigned i, uint64_t base)
{
    uint64_t *page = sparse_get_page(b, base);
    bool ones = node->ones >> i & 1;

    memset(page, 0, SPARSE_PAGE_SIZE);
    sparse_attach_page(b, node, i, page, 0, 0);
    if (ones) {
        sparse_fill_page(node, i, 0, sparse_child_end(b, 1, base) - base, true);
    }
}

unsigned sparse_fill_page(SparseNode *node, unsigned i, unsigned from, unsigned to, bool value)
{
    unsigned changed = sparse_words_fill(node->child[i].page, from, to, value);

    if (value) {
        node->count[i] += changed;
        node->lines[i] |= sparse_words_lines(from, to);
    } else {
        node->count[i] -= changed;
    }
    return changed;
}

static uint64_t fill_leaf(SparseBitmap *b, SparseNode *node, unsigned i, uint64_t base,
                          uint64_t start, uint64_t end, bool value)
{
    if (!(node->mixed >> i & 1)) {
        split_leaf(b, node, i, base);
    }
    return sparse_fill_page(node, i, start - base, end - base, value);
}

static uint64_t fill_child(SparseBitmap *b, SparseNode *node, unsigned level, unsigned i,
                           uint64_t base, uint64_t start, uint64_t end, bool value)
{
    bool mixed = node->mixed >> i & 1;
    uint64_t changed;

    if (!mixed && (node->ones >> i & 1) == value) {
        return 0;
    }
    if (start == base && end == sparse_child_end(b, level, base)) {
        return sparse_make_uniform(b, node, level, i, base, value);
    }
    if (level == 1) {
        changed = fill_leaf(b, node, i, base, start, end, value);
    } else {
        SparseNode *child = mixed ? node->child[i].node : sparse_split(b, node, level, i, base);

        changed = sparse_fill(b, child, level - 1, base, start, end, value);
    }
    sparse_settle(b, node, level, i, base);
    return changed;
}

uint64_t sparse_fill(SparseBitmap *b, SparseNode *node, unsigned level, uint64_t base,
                     uint64_t start, uint64_t end, bool value)
{
    unsigned last = sparse_slot(level, end - 1);
    uint64_t changed = 0;

    for (unsigned i = sparse_slot(level, start); i <= last; i++) {
        uint64_t child = sparse_child_base(level, base, i);
        uint64_t child_end = sparse_child_end(b, level, child);

        changed +=
            fill_child(b, node, level, i, child, MAX(start, child), MIN(end, child_end), value);
    }
    return changed;
}
