/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A write-back cache of tables of one kind and one size: slices of L2 tables, or refcount blocks.
 *
 * Tables are kept as on disk (big endian).  A bounded number of entries, least recently used first
 * out; memory for an entry is taken at its first use.  Changes stay in memory until the cache is
 * written: for a flush, at close, when a dirty entry must make room, or when another cache depends
 * on it.
 *
 * Order on disk: a cache may depend on another one (or on a flush of what was written to the
 * file): before its first dirty table is written, the other one is written and the files are
 * flushed.
 *
 * Who may call: everything that dirties or writes tables holds the state's lock (s->lock); reading
 * (find, get, put) needs no lock.  A pinned entry stays in place; the content of one may change
 * whenever the holder yields.
 */
#ifndef BLOCK_DRIVERS_QCOW2_TABLE_CACHE_H
#define BLOCK_DRIVERS_QCOW2_TABLE_CACHE_H

#include "block/block-types.h"

typedef struct Qcow2Cache Qcow2Cache;

typedef struct Qcow2Table {
    void *data;     /* table_size bytes, big endian; NULL: not yet needed */
    int64_t offset; /* in the image file; 0: the entry is free */
    unsigned pins;
    bool dirty;
    bool loading; /* private from here on */
    bool used;    /* since the last qcow2_cache_clean() */
    struct Qcow2Table *newer, *older, *hash_next;
} Qcow2Table;

/* @area: what the tables are (a bit of Qcow2Area).  @entries: at least 2. */
Qcow2Cache *qcow2_cache_new(BlockNode *node, unsigned area, unsigned entries, size_t table_size);
void qcow2_cache_free(Qcow2Cache *cache); /* what is dirty is lost; NULL is accepted */

size_t qcow2_cache_table_size(const Qcow2Cache *cache);
bool qcow2_cache_is_dirty(const Qcow2Cache *cache);

/*
 * The table at @offset if it is cached, not pinned: valid until the caller yields.  NULL if not.
 * The fast path: no allocation, no yield.
 */
void *qcow2_cache_find(Qcow2Cache *cache, int64_t offset);

/*
 * Pins the table at @offset, reading it where needed; release with qcow2_cache_put().  -EAGAIN
 * (only without the lock): it had to wait, and the table may have been moved or freed meanwhile;
 * look again where it is now.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_cache_get(Qcow2Cache *cache, int64_t offset,
                                                 Qcow2Table **table);

/* The same for a new table: all zero, nothing is read, dirty.  Lock held. */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_cache_get_new(Qcow2Cache *cache, int64_t offset,
                                                     Qcow2Table **table);
void qcow2_cache_put(Qcow2Cache *cache, Qcow2Table *table);

/* To be called after each change of a pinned table, before the next yield.  Lock held. */
void qcow2_cache_dirty(Qcow2Cache *cache, Qcow2Table *table);

/*
 * From now on nothing of @cache is written before all of @other (as it is now and will be then) is
 * written and flushed.  May write @other first where that depended on @cache.  Lock held.
 */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_cache_depend(Qcow2Cache *cache, Qcow2Cache *other);

/* From now on nothing of @cache is written before the image file (and data file) was flushed. */
void qcow2_cache_depend_on_flush(Qcow2Cache *cache);

/* Does @cache depend on @other? */
bool qcow2_cache_depends(const Qcow2Cache *cache, const Qcow2Cache *other);

/* Writes what is dirty, after what it depends on; no flush behind it.  Lock held. */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_cache_write(Qcow2Cache *cache);

/* Forgets the tables in that range of the file, dirty or not (freed clusters).  Lock held. */
void qcow2_cache_forget(Qcow2Cache *cache, int64_t offset, int64_t bytes);

/* Writes, then forgets everything (before somebody changes tables beside the cache). */
G_GNUC_WARN_UNUSED_RESULT int co_qcow2_cache_empty(Qcow2Cache *cache);

/* Frees the memory of clean tables that were not used since the last call. */
void qcow2_cache_clean(Qcow2Cache *cache);

#endif
