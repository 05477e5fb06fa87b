/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cache of tables; see table-cache.h.
 *
 * Invariants.
 *   - An entry with an offset is in exactly one hash chain; one without (free, or forgotten while
 *     pinned) is in none.  Every entry is in the list by age.
 *   - A dirty entry changes only with the lock held, and is written with the lock held: what goes
 *     out is one state of the table, never older than what it depends on.
 *   - Of two caches at most one depends on the other: co_qcow2_cache_depend() writes the other way
 *     round out first.
 */
#include "block/drivers/qcow2/overlap.h"
#include "util/range.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How far from the oldest entry a clean one is looked for before all are written. */
#define LOOK_FOR_CLEAN 32
/* So many tables that lie one behind the other go out as one write. */
#define MAX_RUN 64

struct Qcow2Cache {
    BlockNode *node;
    unsigned area;
    unsigned table_bits;
    unsigned count;
    unsigned dirty; /* how many are dirty */
    Qcow2Table *tables;
    Qcow2Table **buckets;
    unsigned bucket_mask;
    Qcow2Table *newest, *oldest;
    Qcow2Cache *depends;
    bool depends_on_flush;
    CoQueue changed; /* something was loaded, or lost its last pin */
};

size_t qcow2_cache_table_size(const Qcow2Cache *cache)
{
    return (size_t)1 << cache->table_bits;
}

bool qcow2_cache_is_dirty(const Qcow2Cache *cache)
{
    return cache->dirty > 0;
}

/* --- hash and age ------------------------------------------------------------------------- */

static Qcow2Table **bucket_of(const Qcow2Cache *cache, int64_t offset)
{
    uint64_t number = (uint64_t)offset >> cache->table_bits;

    return &cache->buckets[(number * UINT64_C(0x9e3779b97f4a7c15) >> 32) & cache->bucket_mask];
}

static Qcow2Table *lookup(const Qcow2Cache *cache, int64_t offset)
{
    Qcow2Table *t = *bucket_of(cache, offset);

    while (t && t->offset != offset) {
        t = t->hash_next;
    }
    return t;
}

static void hash_add(Qcow2Cache *cache, Qcow2Table *t, int64_t offset)
{
    Qcow2Table **bucket = bucket_of(cache, offset);

    t->offset = offset;
    t->hash_next = *bucket;
    *bucket = t;
}

static void hash_remove(Qcow2Cache *cache, Qcow2Table *t)
{
    Qcow2Table **at = bucket_of(cache, t->offset);

    while (*at != t) {
        at = &(*at)->hash_next;
    }
    *at = t->hash_next;
    t->offset = 0;
}

static void age_remove(Qcow2Cache *cache, Qcow2Table *t)
{
    *(t->newer ? &t->newer->older : &cache->newest) = t->older;
    *(t->older ? &t->older->newer : &cache->oldest) = t->newer;
}

static void age_add_newest(Qcow2Cache *cache, Qcow2Table *t)
{
    t->newer = NULL;
    t->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = t;
    cache->newest = t;
}

static void age_add_oldest(Qcow2Cache *cache, Qcow2Table *t)
{
    t->older = NULL;
    t->newer = cache->oldest;
    *(cache->oldest ? &cache->oldest->older : &cache->newest) = t;
    cache->oldest = t;
}

static inline void touch(Qcow2Cache *cache, Qcow2Table *t)
{
    t->used = true;
    if (cache->newest != t) {
        age_remove(cache, t);
        age_add_newest(cache, t);
    }
}

/* --- life --------------------------------------------------------------------------------- */

Qcow2Cache *qcow2_cache_new(BlockNode *node, unsigned area, unsigned entries, size_t table_size)
{
    Qcow2Cache *cache = g_new0(Qcow2Cache, 1);
    unsigned buckets = 16;

    while (buckets < entries) {
        buckets *= 2;
    }
    cache->node = node;
    cache->area = area;
    cache->table_bits = __builtin_ctzll(table_size);
    cache->count = entries;
    cache->tables = g_new0(Qcow2Table, entries);
    cache->buckets = g_new0(Qcow2Table *, buckets);
    cache->bucket_mask = buckets - 1;
    for (unsigned i = 0; i < entries; i++) {
        age_add_oldest(cache, &cache->tables[i]);
    }
    return cache;
}

void qcow2_cache_free(Qcow2Cache *cache)
{
    if (!cache) {
        return;
    }
    for (unsigned i = 0; i < cache->count; i++) {
        g_assert(cache->tables[i].pins == 0);
        free(cache->tables[i].data);
    }
    g_free(cache->tables);
    g_free(cache->buckets);
    g_free(cache);
}

/* --- writing ------------------------------------------------------------------------------ */

bool qcow2_cache_depends(const Qcow2Cache *cache, const Qcow2Cache *other)
{
    return cache->depends == other;
}

void qcow2_cache_depend_on_flush(Qcow2Cache *cache)
{
    cache->depends_on_flush = true;
}

/* Writes and flushes what must be on disk first. */
static int co_write_dependencies(Qcow2Cache *cache)
{
    int ret = 0;

    if (cache->depends) {
        ret = co_qcow2_cache_write(cache->depends);
    }
    if (ret == 0 && (cache->depends || cache->depends_on_flush)) {
        ret = co_qcow2_flush_files(cache->node);
    }
    if (ret == 0) {
        cache->depends = NULL;
        cache->depends_on_flush = false;
    }
    return ret;
}

int co_qcow2_cache_depend(Qcow2Cache *cache, Qcow2Cache *other)
{
    if (other->depends == cache) {
        /* What @other waits for must be on disk, even if @other itself is only about to change. */
        int ret = co_write_dependencies(other);

        ret = ret < 0 ? ret : co_qcow2_cache_write(other);
        if (ret < 0) {
            return ret;
        }
    }
    cache->depends = other;
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const Qcow2Table *x = *(Qcow2Table *const *)a, *y = *(Qcow2Table *const *)b;

    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static Qcow2Table **collect_dirty(Qcow2Cache *cache, unsigned *count)
{
    Qcow2Table **list = g_new(Qcow2Table *, cache->dirty);

    *count = 0;
    for (unsigned i = 0; i < cache->count; i++) {
        if (cache->tables[i].dirty) {
            list[(*count)++] = &cache->tables[i];
        }
    }
    g_assert(*count == cache->dirty);
    qsort(list, *count, sizeof(*list), by_offset);
    return list;
}

/* How many of the tables lie one behind the other in the file. */
static unsigned run_length(const Qcow2Cache *cache, Qcow2Table *const *list, unsigned count)
{
    unsigned n = 1;

    while (n < MIN(count, MAX_RUN) &&
           list[n]->offset == list[n - 1]->offset + (int64_t)qcow2_cache_table_size(cache)) {
        n++;
    }
    return n;
}

static int co_write_run(Qcow2Cache *cache, Qcow2Table *const *list, unsigned count)
{
    int64_t offset = list[0]->offset, bytes = (int64_t)count << cache->table_bits;
    struct iovec iov[MAX_RUN];
    IoSlice data;
    int ret;

    for (unsigned i = 0; i < count; i++) {
        iov[i] = (struct iovec){ list[i]->data, qcow2_cache_table_size(cache) };
    }
    data = io_slice(iov, count);
    ret = co_qcow2_check_overlap(cache->node, cache->area, offset, bytes);
    if (ret == 0) {
        ret = co_qcow2_file_grow(cache->node, offset + bytes);
    }
    if (ret == 0) {
        ret = co_block_write(cache->node->file, offset, &data, 0);
    }
    for (unsigned i = 0; i < count && ret == 0; i++) {
        list[i]->dirty = false;
        cache->dirty--;
    }
    return ret;
}

int co_qcow2_cache_write(Qcow2Cache *cache)
{
    g_autofree Qcow2Table **list = NULL;
    unsigned count, run;
    int ret;

    if (cache->dirty == 0) {
        return 0;
    }
    ret = co_write_dependencies(cache);
    list = collect_dirty(cache, &count);
    for (unsigned i = 0; i < count && ret == 0; i += run) {
        run = run_length(cache, list + i, count - i);
        ret = co_write_run(cache, list + i, run);
    }
    return ret;
}

/* --- reading ------------------------------------------------------------------------------ */

void *qcow2_cache_find(Qcow2Cache *cache, int64_t offset)
{
    Qcow2Table *t = lookup(cache, offset);

    if (G_UNLIKELY(!t || t->loading)) {
        return NULL;
    }
    touch(cache, t);
    return t->data;
}

static bool has_lock(const Qcow2Cache *cache)
{
    return qcow2_state(cache->node)->lock.owner == co_self();
}

/* Writes the cache to make entries clean: with the lock, whether the caller has it or not. */
static int co_write_for_room(Qcow2Cache *cache)
{
    CoMutex *lock = &qcow2_state(cache->node)->lock;
    int ret;

    if (has_lock(cache)) {
        return co_qcow2_cache_write(cache);
    }
    co_mutex_lock(lock);
    ret = co_qcow2_cache_write(cache);
    co_mutex_unlock(lock);
    return ret;
}

/* The oldest entry that can be used again at once, or NULL; *dirty: writing would free some. */
static Qcow2Table *find_victim(const Qcow2Cache *cache, bool *dirty)
{
    unsigned looked = 0;

    *dirty = false;
    for (Qcow2Table *t = cache->oldest; t; t = t->newer) {
        if (t->pins) {
            continue;
        }
        if (!t->dirty) {
            return t;
        }
        *dirty = true;
        if (++looked >= LOOK_FOR_CLEAN) {
            return NULL;
        }
    }
    return NULL;
}

static int take_memory(const Qcow2Cache *cache, Qcow2Table *t)
{
    size_t size = qcow2_cache_table_size(cache);

    if (!t->data) {
        t->data = aligned_alloc(MIN(size, 4096), size);
    }
    return t->data ? 0 : -ENOMEM;
}

/*
 * An entry for @offset, hashed and pinned, or -EAGAIN where it had to wait: the caller looks again.
 */
static int co_take_entry(Qcow2Cache *cache, int64_t offset, Qcow2Table **table)
{
    bool dirty;
    Qcow2Table *t = find_victim(cache, &dirty);
    int ret;

    if (!t) {
        if (dirty) {
            ret = co_write_for_room(cache);
            return ret < 0 ? ret : -EAGAIN;
        }
        co_queue_wait(&cache->changed);
        return -EAGAIN;
    }
    ret = take_memory(cache, t);
    if (ret < 0) {
        return ret;
    }
    if (t->offset) {
        hash_remove(cache, t);
    }
    hash_add(cache, t, offset);
    touch(cache, t);
    t->pins = 1;
    *table = t;
    return 0;
}

static int co_load(Qcow2Cache *cache, Qcow2Table *t)
{
    int64_t offset = t->offset;
    int ret;

    t->loading = true;
    ret = co_qcow2_read_file(cache->node, offset, t->data, qcow2_cache_table_size(cache));
    t->loading = false;
    if (ret == 0 && t->offset != offset) {
        ret = -EAGAIN; /* forgotten meanwhile */
    }
    if (ret < 0) {
        if (t->offset) {
            hash_remove(cache, t);
        }
        qcow2_cache_put(cache, t);
    }
    co_queue_wake_all(&cache->changed);
    return ret;
}

/* -EAGAIN: it had to wait, for room or for one who loads the table; nothing is pinned. */
static int co_try_get(Qcow2Cache *cache, int64_t offset, Qcow2Table **table)
{
    Qcow2Table *t = lookup(cache, offset);
    int ret;

    if (!t) {
        ret = co_take_entry(cache, offset, table);
        return ret < 0 ? ret : co_load(cache, *table);
    }
    if (t->loading) {
        co_queue_wait(&cache->changed);
        return -EAGAIN;
    }
    t->pins++;
    touch(cache, t);
    *table = t;
    return 0;
}

int co_qcow2_cache_get(Qcow2Cache *cache, int64_t offset, Qcow2Table **table)
{
    int ret;

    /* With the lock the table is still at @offset after a wait; without it, that is not known. */
    do {
        ret = co_try_get(cache, offset, table);
    } while (ret == -EAGAIN && has_lock(cache));
    return ret;
}

int co_qcow2_cache_get_new(Qcow2Cache *cache, int64_t offset, Qcow2Table **table)
{
    int ret;

    qcow2_cache_forget(cache, offset, qcow2_cache_table_size(cache));
    do {
        ret = co_take_entry(cache, offset, table);
    } while (ret == -EAGAIN);
    if (ret == 0) {
        memset((*table)->data, 0, qcow2_cache_table_size(cache));
        qcow2_cache_dirty(cache, *table);
    }
    return ret;
}

void qcow2_cache_put(Qcow2Cache *cache, Qcow2Table *t)
{
    g_assert(t->pins > 0);
    if (--t->pins == 0) {
        if (!t->offset) {
            age_remove(cache, t);
            age_add_oldest(cache, t);
        }
        co_queue_wake_all(&cache->changed);
    }
}

void qcow2_cache_dirty(Qcow2Cache *cache, Qcow2Table *t)
{
    g_assert(t->pins > 0 && t->offset);
    if (!t->dirty) {
        t->dirty = true;
        cache->dirty++;
    }
}

/* --- forgetting --------------------------------------------------------------------------- */

static void forget(Qcow2Cache *cache, Qcow2Table *t)
{
    if (t->dirty) {
        t->dirty = false;
        cache->dirty--;
    }
    hash_remove(cache, t);
    if (t->pins == 0) {
        age_remove(cache, t);
        age_add_oldest(cache, t);
    }
}

void qcow2_cache_forget(Qcow2Cache *cache, int64_t offset, int64_t bytes)
{
    int64_t size = qcow2_cache_table_size(cache);

    /* Large ranges: by entry, not by offset. */
    if (bytes / size > cache->count) {
        for (unsigned i = 0; i < cache->count; i++) {
            Qcow2Table *t = &cache->tables[i];

            if (t->offset && range_overlaps(t->offset, size, offset, bytes)) {
                forget(cache, t);
            }
        }
        return;
    }
    for (int64_t at = align_down(offset, size); at < offset + bytes; at += size) {
        Qcow2Table *t = lookup(cache, at);

        if (t && at) {
            forget(cache, t);
        }
    }
}

int co_qcow2_cache_empty(Qcow2Cache *cache)
{
    int ret = co_qcow2_cache_write(cache);

    for (unsigned i = 0; i < cache->count && ret == 0; i++) {
        if (cache->tables[i].offset) {
            forget(cache, &cache->tables[i]);
        }
    }
    return ret;
}

void qcow2_cache_clean(Qcow2Cache *cache)
{
    for (unsigned i = 0; i < cache->count; i++) {
        Qcow2Table *t = &cache->tables[i];

        if (!t->used && !t->dirty && t->pins == 0 && t->data) {
            if (t->offset) {
                forget(cache, t);
            }
            g_clear_pointer(&t->data, free);
        }
        t->used = false;
    }
}
