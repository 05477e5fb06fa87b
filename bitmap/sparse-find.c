/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Searching and counting in a SparseBitmap: costs what is not uniform in the range. */
#include "bitmap/sparse-tree.h"
#include "bitmap/sparse-words.h"

/* The children from slot @i on. */
static uint64_t from_slot(uint64_t children, unsigned i)
{
    return children & ~(uint64_t)0 << i;
}

/* @base is that of the leaf. */
static bool next_in_leaf(const SparseNode *node, unsigned i, uint64_t base, uint64_t start,
                         uint64_t end, bool value, uint64_t *bit)
{
    const uint64_t *page = node->child[i].page;
    unsigned from = start - base, to = MIN(end - base, SPARSE_LEAF_BITS);
    unsigned found = value ? sparse_words_next_set(page, node->lines[i], from, to)
                           : sparse_words_next(page, from, to, false);

    if (found == to) {
        return false;
    }
    *bit = base + found;
    return true;
}

/* The first bit that is @value in [start, end), not empty, beginning below the node. */
static bool next_in_node(const SparseNode *node, unsigned level, uint64_t base, uint64_t start,
                         uint64_t end, bool value, uint64_t *bit)
{
    uint64_t left =
        from_slot(value ? node->mixed | node->ones : ~node->ones, sparse_slot(level, start));

    for (; left; left &= left - 1) {
        unsigned i = __builtin_ctzll(left);
        uint64_t child = sparse_child_base(level, base, i);
        uint64_t from = MAX(start, child);

        if (from >= end) {
            return false;
        }
        if (!(node->mixed >> i & 1)) {
            *bit = from;
            return true;
        }
        if (level == 1
                ? next_in_leaf(node, i, child, from, end, value, bit)
                : next_in_node(node->child[i].node, level - 1, child, from, end, value, bit)) {
            return true;
        }
    }
    return false;
}

static bool next_bit(const SparseBitmap *b, uint64_t start, uint64_t end, bool value, uint64_t *bit)
{
    end = MIN(end, b->nbits);
    return start < end && next_in_node(&b->root, b->levels, 0, start, end, value, bit);
}

bool sparse_bitmap_next_set(const SparseBitmap *b, uint64_t start, uint64_t end, uint64_t *bit)
{
    return next_bit(b, start, end, true, bit);
}

bool sparse_bitmap_next_clear(const SparseBitmap *b, uint64_t start, uint64_t end, uint64_t *bit)
{
    return next_bit(b, start, end, false, bit);
}

bool sparse_bitmap_next_run(const SparseBitmap *b, uint64_t start, uint64_t end,
                            uint64_t *run_start, uint64_t *run_count)
{
    uint64_t first, clear;

    if (!next_bit(b, start, end, true, &first)) {
        return false;
    }
    if (!next_bit(b, first, end, false, &clear)) {
        clear = MIN(end, b->nbits);
    }
    *run_start = first;
    *run_count = clear - first;
    return true;
}

/* The bits set in the part of [start, end) that lies below the node. */
static uint64_t count_node(const SparseBitmap *b, const SparseNode *node, unsigned level,
                           uint64_t base, uint64_t start, uint64_t end)
{
    uint64_t left = from_slot(node->mixed | node->ones, sparse_slot(level, start));
    uint64_t count = 0;

    for (; left; left &= left - 1) {
        unsigned i = __builtin_ctzll(left);
        uint64_t child = sparse_child_base(level, base, i);
        uint64_t child_end = sparse_child_end(b, level, child);
        uint64_t from = MAX(start, child), to = MIN(end, child_end);

        if (from >= to) {
            break;
        }
        if (node->ones >> i & 1) {
            count += to - from;
        } else if (level > 1) {
            count += count_node(b, node->child[i].node, level - 1, child, from, to);
        } else if (from == child && to == child_end) {
            count += node->count[i];
        } else {
            count += sparse_words_count(node->child[i].page, from - child, to - child);
        }
    }
    return count;
}

uint64_t sparse_bitmap_count_range(const SparseBitmap *b, uint64_t start, uint64_t count)
{
    g_assert(start <= b->nbits && count <= b->nbits - start);
    return count ? count_node(b, &b->root, b->levels, 0, start, start + count) : 0;
}
