/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bits in the words of one leaf page; see sparse-words.h. */
#include "bitmap/sparse-words.h"

/* In registers: without -mpopcnt the compiler's builtin is a call that looks up tables. */
static inline unsigned popcount(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555;
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return x * 0x0101010101010101 >> 56;
}

/* The bits of word @w that lie in [from, to). */
static inline uint64_t word_mask(unsigned w, unsigned from, unsigned to)
{
    uint64_t mask = ~(uint64_t)0;

    if (w == from / 64) {
        mask <<= from % 64;
    }
    if (w == (to - 1) / 64) {
        mask &= ~(uint64_t)0 >> (63 - (to - 1) % 64);
    }
    return mask;
}

unsigned sparse_words_fill(uint64_t *words, unsigned from, unsigned to, bool value)
{
    unsigned changed = 0;

    for (unsigned w = from / 64; w <= (to - 1) / 64; w++) {
        uint64_t mask = word_mask(w, from, to);
        uint64_t flip = (value ? ~words[w] : words[w]) & mask;

        words[w] ^= flip;
        changed += popcount(flip);
    }
    return changed;
}

unsigned sparse_words_count(const uint64_t *words, unsigned from, unsigned to)
{
    unsigned count = 0;

    for (unsigned w = from / 64; w <= (to - 1) / 64; w++) {
        count += popcount(words[w] & word_mask(w, from, to));
    }
    return count;
}

unsigned sparse_words_next(const uint64_t *words, unsigned from, unsigned to, bool value)
{
    uint64_t invert = value ? 0 : ~(uint64_t)0;
    uint64_t skip = ~(uint64_t)0 << from % 64;

    for (unsigned w = from / 64; w <= (to - 1) / 64; w++) {
        uint64_t word = (words[w] ^ invert) & skip;

        if (word) {
            return MIN(w * 64 + (unsigned)__builtin_ctzll(word), to);
        }
        skip = ~(uint64_t)0;
    }
    return to;
}

/* Merges eight words (a cache line). */
static inline unsigned merge_line(uint64_t *dst, const uint64_t *src)
{
    unsigned changed = 0;

    for (unsigned w = 0; w < 8; w++) {
        uint64_t added = src[w] & ~dst[w];

        if (added) {
            dst[w] |= added;
            changed += popcount(added);
        }
    }
    return changed;
}

unsigned sparse_words_merge(uint64_t *dst, const uint64_t *src)
{
    const unsigned n = SPARSE_PAGE_SIZE / sizeof(uint64_t);
    unsigned changed = 0;

    for (unsigned w = 0; w < n; w += 8) {
        const uint64_t *s = src + w;

        /* Most lines of a scattered bitmap are empty: they cost eight loads and one branch. */
        if (s[0] | s[1] | s[2] | s[3] | s[4] | s[5] | s[6] | s[7]) {
            changed += merge_line(dst + w, s);
        }
    }
    return changed;
}
