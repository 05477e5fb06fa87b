/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Staging memory: old bytes that were saved from before a guest's write and wait there for the
 * copier.  A bounded number of pages, one block of a copy each, held by block number.
 *
 * On the loop of the copy.  Who needs pages reserves them first, all at once, and may have to wait
 * for room; room is given back page by page.
 */
#ifndef BLOCK_COPY_STAGING_H
#define BLOCK_COPY_STAGING_H

#include "bitmap/sparse-bitmap.h"
#include "io/co-lock.h"

typedef struct Staging Staging;

#define STAGING_MAX_BLOCK (1 << 20) /* bytes */

/*
 * Of a copy of @n_blocks blocks of @block_size bytes; holds at most @max_bytes (at least 2 MiB).
 * @room_limit_ns: the longest wait for room without any becoming free; 0: 15 seconds.
 */
Staging *staging_new(uint64_t n_blocks, size_t block_size, size_t max_bytes,
                     int64_t room_limit_ns);
void staging_free(Staging *s); /* nobody waits; what is held is dropped; NULL is accepted */

/*
 * Waits until there is room for @n pages (at most 1 MiB of them) and reserves it: first come, first
 * served.  0, -ECANCELED after staging_stop(), -ENOBUFS where there was none for longer than the
 * limit.
 */
G_GNUC_WARN_UNUSED_RESULT int co_staging_reserve(Staging *s, size_t n);

/* Nobody waits for room any more. */
void staging_stop(Staging *s);

/*
 * In a hurry the other place for what is saved is full, so that the target is known to be too slow:
 * -ENOBUFS comes as soon as somebody or other has been waiting for a quarter of a second of it.
 * Not where the limit was given to staging_new(): that one counts.
 */
void staging_set_hurry(Staging *s, bool hurry);

/* A reserved page with undefined content; NULL when out of memory (its reservation stays). */
void *staging_page(Staging *s);
/* Gives a page (or NULL: a reservation without one) and its room back. */
void staging_page_free(Staging *s, void *page);

/* The page holds block @block from now on. */
void staging_hold(Staging *s, uint64_t block, void *page);
/* The page that holds @block, or NULL. */
const void *staging_look(const Staging *s, uint64_t block);
/* The same, not held any more: the caller frees it with staging_page_free(). */
void *staging_take(Staging *s, uint64_t block);

/* Which blocks are held: a bit each. */
const SparseBitmap *staging_held(const Staging *s);

size_t staging_used(const Staging *s);     /* pages reserved or held; any thread */
size_t staging_capacity(const Staging *s); /* pages */
bool staging_wanted(const Staging *s);     /* is somebody waiting for room? */
uint64_t staging_waits(const Staging *s);  /* how often somebody had to wait so far */

#endif
