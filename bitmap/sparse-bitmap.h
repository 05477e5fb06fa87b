/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A sparse hierarchical bit structure over 64-bit indexes.
 *
 * A bitmap is a tree of 64-way nodes over leaves of one 4096-byte page each. What is uniform (a
 * leaf or a whole subtree, all zeroes or all ones) has no memory, so an empty or a full bitmap
 * costs next to nothing whatever its size, and searching, counting and merging cost what is not
 * uniform. Everything above the pages is derived from them.
 *
 * No locks: the caller sees to it that nobody uses a bitmap that is being changed. Nothing yields.
 * Ranges must lie inside the bitmap (asserted); an empty range is allowed and does nothing.
 */
#ifndef BITMAP_SPARSE_BITMAP_H
#define BITMAP_SPARSE_BITMAP_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct SparseBitmap SparseBitmap;

#define SPARSE_PAGE_SIZE 4096
/* Bits in a leaf: bit n of the bitmap is bit n % 64 of the page's native 64-bit word n / 64. */
#define SPARSE_LEAF_BITS (SPARSE_PAGE_SIZE * 8)
/* The largest bitmap: what 2^63 bytes at 512 bytes a bit need. */
#define SPARSE_BITMAP_MAX_BITS ((uint64_t)1 << 54)

/* Where the pages of leaves live: memory by default, a mapped file for a stored bitmap. */
typedef struct PageProvider {
    /* A page (8-byte aligned, any content) for the leaf @leaf_index; never NULL. */
    uint64_t *(*get)(void *opaque, uint64_t leaf_index);
    /* Takes a page back: its leaf became uniform, or the bitmap is being freed. */
    void (*put)(void *opaque, uint64_t leaf_index, uint64_t *page);
} PageProvider;

/* A bitmap of @nbits clear bits (0 is allowed) with its pages in memory. */
SparseBitmap *sparse_bitmap_new(uint64_t nbits);

/* The same with pages from @provider, which is not copied and must outlive the bitmap. */
SparseBitmap *sparse_bitmap_new_with_pages(uint64_t nbits, const PageProvider *provider,
                                           void *opaque);

/* Frees a bitmap and gives its pages back; NULL is allowed. */
void sparse_bitmap_free(SparseBitmap *b);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(SparseBitmap, sparse_bitmap_free)

/* An independent copy, with its pages in memory wherever those of @b are. */
SparseBitmap *sparse_bitmap_copy(const SparseBitmap *b);

/* Gives the leaf @leaf_index, which must be all clear, a page of the provider that has content
 * already (read back from a store). Bits past the end of the bitmap must be clear in it. The page
 * is put at once if its content is uniform. */
void sparse_bitmap_adopt_leaf(SparseBitmap *b, uint64_t leaf_index, uint64_t *page);

uint64_t sparse_bitmap_size(const SparseBitmap *b); /* bits */
/* May be called on any thread while another changes bits. */
uint64_t sparse_bitmap_count(const SparseBitmap *b); /* bits set; O(1) */
size_t sparse_bitmap_memory(const SparseBitmap *b);  /* bytes held, pages included */

/* The number of bits set in [start, start + count). */
uint64_t sparse_bitmap_count_range(const SparseBitmap *b, uint64_t start, uint64_t count);

bool sparse_bitmap_get(const SparseBitmap *b, uint64_t bit);

/* Set or clear [start, start + count); return the number of bits that changed. Setting a few bits
 * is on the path of every guest write: some nanoseconds, and no allocation in a leaf that already
 * has a page. */
uint64_t sparse_bitmap_set(SparseBitmap *b, uint64_t start, uint64_t count);
uint64_t sparse_bitmap_clear(SparseBitmap *b, uint64_t start, uint64_t count);

void sparse_bitmap_set_all(SparseBitmap *b);
void sparse_bitmap_clear_all(SparseBitmap *b);

/* The first set (clear) bit in [start, end); false, and *bit untouched, if there is none.
 * @end may lie past the end of the bitmap (UINT64_MAX: to its end). */
bool sparse_bitmap_next_set(const SparseBitmap *b, uint64_t start, uint64_t end, uint64_t *bit);
bool sparse_bitmap_next_clear(const SparseBitmap *b, uint64_t start, uint64_t end, uint64_t *bit);

/* The first run of set bits in [start, end), cut at @end; false if there is none. */
bool sparse_bitmap_next_run(const SparseBitmap *b, uint64_t start, uint64_t end,
                            uint64_t *run_start, uint64_t *run_count);

/* A run of set bits, as long as it can be; false: no more is wanted. */
typedef bool SparseRunFn(void *opaque, uint64_t start, uint64_t count);

/* Calls fn(opaque) for each run of set bits in [start, end), in order, cut at both ends, until it
 * returns false. */
void sparse_bitmap_each_run(const SparseBitmap *b, uint64_t start, uint64_t end, SparseRunFn *fn,
                            void *opaque);

/* dst |= src; both of the same size. Costs what is set in src. Returns the bits that changed. */
uint64_t sparse_bitmap_merge(SparseBitmap *dst, const SparseBitmap *src);

/* The same between scales: a bit of @src stands for 2^shift bits of @dst (shift > 0), or 2^-shift
 * bits of @src stand for one of @dst, which is set if any of them is (shift < 0). What would fall
 * past the end of @dst is dropped. */
uint64_t sparse_bitmap_merge_scaled(SparseBitmap *dst, const SparseBitmap *src, int shift);

/* Changes the size. New bits are clear; bits past a new end are forgotten. */
void sparse_bitmap_resize(SparseBitmap *b, uint64_t nbits);

/* The SHA-256, in hexadecimal, of the bits as an array of max(1, ceil(nbits / 64)) little-endian
 * 64-bit words: what QEMU's hbitmap_sha256() gives. Costs the size, not what is set. */
char *sparse_bitmap_sha256(const SparseBitmap *b);

#endif
