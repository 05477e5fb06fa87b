/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bits in the words of one leaf page. Positions are bits from the start of the page; ranges are
 * [from, to), not empty, inside the page.
 */
#ifndef BITMAP_SPARSE_WORDS_H
#define BITMAP_SPARSE_WORDS_H

#include "bitmap/sparse-bitmap.h"

/* Makes the range @value; returns how many bits changed. */
unsigned sparse_words_fill(uint64_t *words, unsigned from, unsigned to, bool value);

/* The number of set bits in the range. */
unsigned sparse_words_count(const uint64_t *words, unsigned from, unsigned to);

/* The first bit in the range that is @value; @to if there is none. */
unsigned sparse_words_next(const uint64_t *words, unsigned from, unsigned to, bool value);

/* dst |= src, whole pages; returns how many bits changed. */
unsigned sparse_words_merge(uint64_t *dst, const uint64_t *src);

static inline bool sparse_words_get(const uint64_t *words, unsigned bit)
{
    return words[bit / 64] >> (bit % 64) & 1;
}

#endif
