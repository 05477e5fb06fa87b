/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages in memory for one SparseBitmap.
 *
 * The first pages are allocated singly, so a bitmap with a few bits stays small; from there on
 * they come from slabs the size of a huge page. Merging bitmaps whose bits are scattered takes
 * thousands of fresh pages at once, and the page faults would cost several times the merge.
 */
#ifndef BITMAP_SPARSE_POOL_H
#define BITMAP_SPARSE_POOL_H

#include "bitmap/sparse-bitmap.h"

typedef struct SparsePool SparsePool;

/* Its opaque is a SparsePool. */
extern const PageProvider sparse_pool_provider;

SparsePool *sparse_pool_new(void);

/* All pages must have been put. */
void sparse_pool_free(SparsePool *pool);

/* Bytes held beyond the pages in use. */
size_t sparse_pool_slack(const SparsePool *pool);

#endif
