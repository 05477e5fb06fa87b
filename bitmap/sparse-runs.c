/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Handing out all runs of a SparseBitmap in one walk: some nanoseconds each, where a search for
 * each would come down from the root.
 */
#include "bitmap/sparse-tree.h"
#include "bitmap/sparse-words.h"

#define LEAF_WORDS (SPARSE_LEAF_BITS / 64)

typedef struct RunWalk {
    uint64_t start, end;         /* only in here */
    uint64_t run_start, run_end; /* found and not handed out: more may join; empty at first */
    const uint64_t *ahead;       /* the leaf behind the one that is walked */
    uint64_t ahead_lines;        /* those of its lines that were not fetched yet */
    SparseRunFn *fn;
    void *opaque;
} RunWalk;

static bool hand_out(const RunWalk *w)
{
    return w->run_start == w->run_end || w->fn(w->opaque, w->run_start, w->run_end - w->run_start);
}

/* [from, to) is set. */
static inline bool found(RunWalk *w, uint64_t from, uint64_t to)
{
    if (from != w->run_end) {
        if (!hand_out(w)) {
            return false;
        }
        w->run_start = from;
    }
    w->run_end = to;
    return true;
}

/* The bits set in a word that begins at @base. */
static inline bool walk_word(RunWalk *w, uint64_t word, uint64_t base)
{
    while (word) {
        unsigned first = __builtin_ctzll(word);
        /* A carry runs through the run and sets the bit behind it. */
        uint64_t beyond = word + ((uint64_t)1 << first);
        unsigned end = beyond ? __builtin_ctzll(beyond) : 64;

        if (!found(w, base + first, base + end)) {
            return false;
        }
        word &= beyond;
    }
    return true;
}

/* The first of @lines. */
static inline void fetch_line(const uint64_t *page, uint64_t lines)
{
    __builtin_prefetch(page + __builtin_ctzll(lines) * SPARSE_LINE_WORDS);
}

/*
 * A leaf with scattered bits lies in memory that is in no cache.  So its lines are fetched while
 * the leaf before is walked, one for each word of that: more at once would only wait for each
 * other.
 */
static inline void fetch_ahead(RunWalk *w)
{
    if (w->ahead_lines) {
        fetch_line(w->ahead, w->ahead_lines);
        w->ahead_lines &= w->ahead_lines - 1;
    }
}

/*
 * Pages lie anywhere, and the first access to one waits for the translation of its address, under a
 * hypervisor for longer than for the line itself. Those of a node are asked for together: then all
 * wait at the same time.
 */
static void fetch_first_lines(const SparseNode *node, uint64_t leaves)
{
    for (; leaves; leaves &= leaves - 1) {
        unsigned i = __builtin_ctzll(leaves);

        fetch_line(node->child[i].page, node->lines[i]);
    }
}

/* @left: the children of a node at level 1 that come behind the one to be walked now. The first
 * line of each was asked for with the node. */
static void look_ahead(RunWalk *w, const SparseNode *node, uint64_t left)
{
    unsigned i = left ? __builtin_ctzll(left) : 0;
    bool mixed = left && node->mixed >> i & 1;

    w->ahead = mixed ? node->child[i].page : NULL;
    w->ahead_lines = mixed ? node->lines[i] & (node->lines[i] - 1) : 0;
}

/* Word @i of a page without what lies outside of [from, to). */
static inline uint64_t clipped(const uint64_t *page, unsigned i, unsigned from, unsigned to)
{
    unsigned first = MAX(i * 64, from), end = MIN(i * 64 + 64, to);

    return first < end ? page[i] & (~(uint64_t)0 >> (64 - (end - first)) << first % 64) : 0;
}

/* Which words of a page are not zero, in order; returns how many. Without branches that nobody
 * could foretell. */
static unsigned list_words(const uint64_t *page, uint64_t lines, uint16_t words[LEAF_WORDS])
{
    unsigned n = 0;

    for (; lines; lines &= lines - 1) {
        unsigned first = __builtin_ctzll(lines) * SPARSE_LINE_WORDS;

        for (unsigned i = first; i < first + SPARSE_LINE_WORDS; i++) {
            words[n] = i;
            n += page[i] != 0;
        }
    }
    return n;
}

/* The part [from, to) of a leaf that begins at @base. */
static bool walk_leaf(RunWalk *w, const uint64_t *page, uint64_t lines, uint64_t base,
                      unsigned from, unsigned to)
{
    bool whole = from == 0 && to == SPARSE_LEAF_BITS;
    uint16_t words[LEAF_WORDS];
    unsigned n = list_words(page, lines & sparse_words_lines(from, to), words);

    for (unsigned i = 0; i < n; i++) {
        uint64_t word = whole ? page[words[i]] : clipped(page, words[i], from, to);

        fetch_ahead(w);
        if (!walk_word(w, word, base + words[i] * 64)) {
            return false;
        }
    }
    return true;
}

static bool walk_node(RunWalk *w, const SparseNode *node, unsigned level, uint64_t base);

/* The part [from, to) of child i, which begins at @child and has set bits. */
static bool walk_child(RunWalk *w, const SparseNode *node, unsigned level, unsigned i,
                       uint64_t child, uint64_t from, uint64_t to)
{
    if (node->ones >> i & 1) {
        return found(w, from, to);
    }
    if (level > 1) {
        return walk_node(w, node->child[i].node, level - 1, child);
    }
    return walk_leaf(w, node->child[i].page, node->lines[i], child, from - child, to - child);
}

/* The children that hold set bits in the part to be walked, which the node at @base has some of. */
static uint64_t children_to_walk(const RunWalk *w, const SparseNode *node, unsigned level,
                                 uint64_t base)
{
    unsigned shift = sparse_shift(level);
    uint64_t first = w->start > base ? (w->start - base) >> shift : 0;
    uint64_t last = MIN((w->end - 1 - base) >> shift, SPARSE_FANOUT - 1);

    return (node->mixed | node->ones) & ~(uint64_t)0 << first &
           ~(uint64_t)0 >> (SPARSE_FANOUT - 1 - last);
}

static bool walk_node(RunWalk *w, const SparseNode *node, unsigned level, uint64_t base)
{
    uint64_t left = children_to_walk(w, node, level, base);
    uint64_t span = (uint64_t)1 << sparse_shift(level);

    if (level == 1) {
        fetch_first_lines(node, left & node->mixed);
    }
    for (; left; left &= left - 1) {
        unsigned i = __builtin_ctzll(left);
        uint64_t child = sparse_child_base(level, base, i);

        if (level == 1) {
            look_ahead(w, node, left & (left - 1));
        }
        if (!walk_child(w, node, level, i, child, MAX(child, w->start),
                        MIN(child + span, w->end))) {
            return false;
        }
    }
    return true;
}

void sparse_bitmap_each_run(const SparseBitmap *b, uint64_t start, uint64_t end, SparseRunFn *fn,
                            void *opaque)
{
    RunWalk w = {.start = start, .end = MIN(end, b->nbits), .fn = fn, .opaque = opaque};

    if (w.start < w.end && walk_node(&w, &b->root, b->levels, 0)) {
        hand_out(&w);
    }
}
