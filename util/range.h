/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Arithmetic on byte ranges, given as offset and length (both >= 0, the end fits in int64_t). */
#ifndef UTIL_RANGE_H
#define UTIL_RANGE_H

#include <stdbool.h>
#include <stdint.h>

/* Do the ranges share a byte?  An empty range shares none. */
static inline bool range_overlaps(int64_t a, int64_t a_len, int64_t b, int64_t b_len)
{
    return a_len && b_len && a < b + b_len && b < a + a_len;
}

/* Lies all of [@b, @b + @b_len) in [@a, @a + @a_len)? */
static inline bool range_contains(int64_t a, int64_t a_len, int64_t b, int64_t b_len)
{
    return b >= a && b_len <= a_len && b - a <= a_len - b_len;
}

/* Is it a range at all, and does it end at or before @limit?  For values from outside. */
static inline bool range_valid(int64_t offset, int64_t len, int64_t limit)
{
    return offset >= 0 && len >= 0 && limit >= 0 && len <= limit && offset <= limit - len;
}

/* @align is a power of two; @value >= 0 and, where rounded up, at most INT64_MAX - align + 1. */
static inline int64_t align_down(int64_t value, int64_t align)
{
    return value & -align;
}

static inline int64_t align_up(int64_t value, int64_t align)
{
    return (value + align - 1) & -align;
}

static inline bool is_aligned(int64_t value, int64_t align)
{
    return !(value & (align - 1));
}

static inline bool is_power_of_two(int64_t value)
{
    return value > 0 && !(value & (value - 1));
}

/* How many units of @unit (any positive number) cover @value. */
static inline int64_t units_covering(int64_t value, int64_t unit)
{
    return value / unit + !!(value % unit);
}

#endif
