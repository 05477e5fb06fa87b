/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bits in the words of one leaf page; see sparse-words.h. */
#include "bitmap/sparse-words.h"

#include <string.h>

#define LINE_WORDS SPARSE_LINE_WORDS
#define LINE_BITS (LINE_WORDS * 64)

G_STATIC_ASSERT(LINE_BITS * 64 == SPARSE_LEAF_BITS);

/* The population of each byte of a word, in that byte. */
static inline uint64_t popcount_bytes(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555;
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
    return (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
}

/* In registers: without -mpopcnt the compiler's builtin is a call that looks up tables. */
static inline unsigned popcount(uint64_t x)
{
    return popcount_bytes(x) * 0x0101010101010101 >> 56;
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

uint64_t sparse_words_lines(unsigned from, unsigned to)
{
    return ~(uint64_t)0 << from / LINE_BITS & ~(uint64_t)0 >> (63 - (to - 1) / LINE_BITS);
}

unsigned sparse_words_next_set(const uint64_t *words, uint64_t lines, unsigned from, unsigned to)
{
    for (lines &= sparse_words_lines(from, to); lines; lines &= lines - 1) {
        unsigned line = __builtin_ctzll(lines) * LINE_BITS;
        unsigned end = MIN(to, line + LINE_BITS);
        unsigned found = sparse_words_next(words, MAX(from, line), end, true);

        if (found < end) {
            return found;
        }
    }
    return to;
}

/* Without branches: in scattered bits they would be mispredicted, and so it becomes vector code. */
static unsigned merge_line(uint64_t *restrict dst, const uint64_t *restrict src)
{
    uint64_t bytes = 0;

    for (unsigned w = 0; w < LINE_WORDS; w++) {
        bytes += popcount_bytes(src[w] & ~dst[w]); /* at most 8 * 8 in each byte */
        dst[w] |= src[w];
    }
    bytes = (bytes & 0x00ff00ff00ff00ff) + (bytes >> 8 & 0x00ff00ff00ff00ff);
    return bytes * 0x0001000100010001 >> 48;
}

unsigned sparse_words_merge(uint64_t *dst, const uint64_t *src, uint64_t lines)
{
    unsigned changed = 0;

    /* Scattered lines are rarely in a cache: fetch them side by side, not one after the other. */
    for (uint64_t left = lines; left; left &= left - 1) {
        unsigned w = __builtin_ctzll(left) * LINE_WORDS;

        __builtin_prefetch(src + w);
        __builtin_prefetch(dst + w, 1);
    }
    for (; lines; lines &= lines - 1) {
        unsigned w = __builtin_ctzll(lines) * LINE_WORDS;

        changed += merge_line(dst + w, src + w);
    }
    return changed;
}

void sparse_words_copy(uint64_t *dst, const uint64_t *src, uint64_t lines)
{
    memset(dst, 0, SPARSE_PAGE_SIZE);
    for (; lines; lines &= lines - 1) {
        unsigned w = __builtin_ctzll(lines) * LINE_WORDS;

        memcpy(dst + w, src + w, LINE_WORDS * sizeof(*dst));
    }
}
