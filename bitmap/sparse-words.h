/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bits in the words of one leaf page. Positions are bits from the start of the page; ranges are
 * [from, to), not empty, inside the page.
 *
 * @lines is a summary of the page: a bit for each of its 64 cache lines, clear only if the line is
 * all zeroes. A leaf with a few scattered bits is searched and merged by touching a few lines.
 */
#ifndef BITMAP_SPARSE_WORDS_H
#define BITMAP_SPARSE_WORDS_H

#include "bitmap/sparse-bitmap.h"

#define SPARSE_LINE_WORDS 8u /* in a cache line */

/* Makes the range @value; returns how many bits changed. */
unsigned sparse_words_fill(uint64_t *words, unsigned from, unsigned to, bool value);

/* The lines that the range touches. */
uint64_t sparse_words_lines(unsigned from, unsigned to);

/* The number of set bits in the range. */
unsigned sparse_words_count(const uint64_t *words, unsigned from, unsigned to);

/* The first bit in the range that is @value; @to if there is none. */
unsigned sparse_words_next(const uint64_t *words, unsigned from, unsigned to, bool value);

/* The first set bit in the range; @to if there is none. */
unsigned sparse_words_next_set(const uint64_t *words, uint64_t lines, unsigned from, unsigned to);

/* dst |= src, whole pages that are not the same; @lines is the summary of @src. Returns how many
 * bits changed. */
unsigned sparse_words_merge(uint64_t *dst, const uint64_t *src, uint64_t lines);

/* dst = src, whole pages; @lines is the summary of @src. */
void sparse_words_copy(uint64_t *dst, const uint64_t *src, uint64_t lines);

static inline bool sparse_words_get(const uint64_t *words, unsigned bit)
{
    return words[bit / 64] >> (bit % 64) & 1;
}

#endif
