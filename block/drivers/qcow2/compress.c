/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Compressed clusters, read and written.
 *
 * The data of one begins at any byte of the image file and ends before the end of the next host
 * cluster but one; its length is known to a sector.  A compressed cluster is never changed in
 * place: to write it again means to write another one and to point the L2 entry to that.
 *
 * Packing and unpacking runs in the worker pool, for many clusters at a time; a single write of
 * many clusters is spread over coroutines, too.  What is no whole cluster is written plainly (a
 * backup under load stores single blocks that the guest is about to overwrite).
 *
 * Memory: each request holds the compressed bytes (at most two clusters) on its own; the unpacked
 * cluster is there only while a worker runs.
 */
#include "block/drivers/qcow2/compress.h"

#include <errno.h>
#include <string.h>

#include "block/drivers/qcow2/alloc.h"
#include "block/drivers/qcow2/codec.h"
#include "block/drivers/qcow2/io.h"
#include "block/drivers/qcow2/refcount.h"
#include "io/co-parallel.h"
#include "io/worker.h"

/* Clusters of one write that are packed or written at the same time. */
#define WRITERS 8

/* --- workers --- */

static int co_in_packer(BlockNode *node, int (*fn)(void *opaque), void *opaque)
{
    Qcow2State *s = qcow2_state(node);
    int ret;

    while (s->packers > g_get_num_processors()) {
        co_queue_wait(&s->packer_ended);
    }
    s->packers++;
    ret = co_in_worker(fn, opaque);
    s->packers--;
    co_queue_wake_one(&s->packer_ended);
    return ret;
}

/* --- reading --- */

typedef struct Unpack {
    Qcow2Compression how;
    const void *src;
    size_t src_len, cluster_size;
    int64_t skip;
    const IoSlice *data;
} Unpack;

/* The caller's memory, if it takes a whole cluster in one piece. */
static void *whole_cluster_buffer(const Unpack *u)
{
    const IoSlice *d = u->data;

    return d->len == u->cluster_size && d->iov[0].iov_len - d->skip >= d->len
               ? (char *)d->iov[0].iov_base + d->skip
               : NULL;
}

static int unpack_worker(void *opaque)
{
    const Unpack *u = opaque;
    char *whole = whole_cluster_buffer(u);
    char *bounce = whole ? NULL : g_try_malloc(u->cluster_size);
    int ret = -ENOMEM;

    if (whole || bounce) {
        ret = qcow2_unpack(u->how, whole ? whole : bounce, u->cluster_size, u->src, u->src_len);
    }
    if (ret == 0 && bounce) {
        io_slice_write(u->data, bounce + u->skip, u->data->len);
    }
    g_free(bounce);
    return ret;
}

/* The compressed bytes of an entry, in memory of their own; -errno. */
static int co_fetch(BlockNode *node, uint64_t entry, void **buf, size_t *len)
{
    Qcow2State *s = qcow2_state(node);
    int64_t offset, bytes;

    qcow2_compressed_place(s, entry, &offset, &bytes);
    *len = bytes;
    *buf = g_try_malloc(bytes);
    return *buf ? co_qcow2_read_file(node, offset, *buf, bytes) : -ENOMEM;
}

int co_qcow2_read_compressed(BlockNode *node, uint64_t entry, int64_t skip, const IoSlice *data)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree void *buf = NULL;
    Unpack unpack = { .how = s->header.compression, .cluster_size = s->cluster_size,
                      .skip = skip, .data = data };
    int ret;

    g_assert(skip >= 0 && skip + (int64_t)data->len <= s->cluster_size);
    ret = co_fetch(node, entry, &buf, &unpack.src_len);
    if (ret < 0) {
        return ret;
    }
    unpack.src = buf;
    return co_in_packer(node, unpack_worker, &unpack);
}

/* --- writing one cluster --- */

typedef struct Pack {
    Qcow2Compression how;
    const IoSlice *data;
    size_t cluster_size;
    void *dst; /* room for a cluster: what fills it has not shrunk */
    size_t packed;
} Pack;

/* The last cluster of a disk may be cut: it is packed with zeroes behind. */
static int pack_worker(void *opaque)
{
    Pack *p = opaque;
    g_autofree char *src = g_try_malloc(p->cluster_size);
    ssize_t packed;

    if (!src) {
        return -ENOMEM;
    }
    io_slice_read(p->data, src);
    memset(src + p->data->len, 0, p->cluster_size - p->data->len);
    packed = qcow2_pack(p->how, p->dst, p->cluster_size - 1, src, p->cluster_size);
    p->packed = MAX(packed, 0);
    return MIN(packed, 0);
}

static int64_t co_alloc_packed(BlockNode *node, size_t bytes)
{
    Qcow2State *s = qcow2_state(node);
    int64_t host;

    co_mutex_lock(&s->lock);
    host = co_qcow2_alloc_bytes(node, bytes);
    co_mutex_unlock(&s->lock);
    return host;
}

static int co_write_packed(BlockNode *node, int64_t host, const Pack *pack)
{
    struct iovec iov = { .iov_base = pack->dst, .iov_len = pack->packed };
    IoSlice slice = io_slice(&iov, 1);
    Qcow2HostIo io;
    int ret;

    qcow2_host_io_begin(qcow2_state(node), &io, host, pack->packed);
    ret = co_qcow2_write_host(node, host, &slice);
    qcow2_host_io_end(&io);
    return ret;
}

/* Points the guest cluster to it; or gives its place back where that or the write has failed. */
static int co_link(BlockNode *node, int64_t offset, int64_t host, size_t bytes, int ret)
{
    Qcow2State *s = qcow2_state(node);

    co_mutex_lock(&s->lock);
    if (ret == 0) {
        ret = co_qcow2_link_compressed(node, offset, host, bytes);
    }
    if (ret < 0) {
        co_qcow2_free_clusters(node, host, bytes, QCOW2_DISCARD_NEVER);
    }
    co_mutex_unlock(&s->lock);
    return ret;
}

static int co_store_packed(BlockNode *node, int64_t offset, const Pack *pack)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Allocation allocation = { .guest = offset, .bytes = s->cluster_size };
    int64_t host;
    int ret;

    co_qcow2_allocation_begin(s, &allocation);
    host = co_alloc_packed(node, pack->packed);
    ret = host < 0 ? host
                   : co_link(node, offset, host, pack->packed, co_write_packed(node, host, pack));
    qcow2_allocation_end(&allocation);
    return ret;
}

static int co_write_cluster(BlockNode *node, int64_t offset, const IoSlice *data)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree void *dst = g_try_malloc(s->cluster_size);
    Pack pack = { .how = s->header.compression, .data = data, .cluster_size = s->cluster_size,
                  .dst = dst };
    int ret = dst ? co_in_packer(node, pack_worker, &pack) : -ENOMEM;

    if (ret == -ENOSPC) {
        return qcow2_co_write(node, offset, data, 0);
    }
    return ret < 0 ? ret : co_store_packed(node, offset, &pack);
}

/* --- writing many --- */

typedef struct CompressedWrite {
    BlockNode *node;
    int64_t offset;
    const IoSlice *data;
    size_t next; /* in data: where the next cluster begins */
} CompressedWrite;

static int co_write_next(void *opaque)
{
    CompressedWrite *w = opaque;
    size_t at = w->next, cluster = qcow2_state(w->node)->cluster_size;
    IoSlice part;
    int ret;

    if (at >= w->data->len) {
        return 0;
    }
    part = io_slice_sub(w->data, at, MIN(w->data->len - at, cluster));
    w->next += part.len;
    ret = co_write_cluster(w->node, w->offset + at, &part);
    return ret < 0 ? ret : 1;
}

static int co_write_clusters(BlockNode *node, int64_t offset, const IoSlice *data)
{
    CompressedWrite w = { .node = node, .offset = offset, .data = data };

    return co_in_parallel(WRITERS, co_write_next, &w);
}

/* --- the cut ------------------------------------------------------------------------------ */

static int co_write_part(BlockNode *node, int64_t offset, const IoSlice *data, size_t from,
                         size_t to, bool compressed)
{
    IoSlice part = io_slice_sub(data, from, to - from);

    if (from == to) {
        return 0;
    }
    return compressed ? co_write_clusters(node, offset + from, &part)
                      : qcow2_co_write(node, offset + from, &part, 0);
}

/* Of the @len bytes at @offset: the whole clusters; the disk's last one counts as whole. */
static void find_clusters(const Qcow2State *s, int64_t offset, size_t len, size_t *from, size_t *to)
{
    int64_t end = offset + len;

    *from = MIN(qcow2_cluster_end(s, offset) - offset, (int64_t)len);
    end = end >= s->header.size ? end : qcow2_cluster_start(s, end);
    *to = MAX(end - offset, (int64_t)*from);
}

int co_qcow2_write_compressed(BlockNode *node, int64_t offset, const IoSlice *data)
{
    Qcow2State *s = qcow2_state(node);
    size_t from, to;
    int ret;

    if (s->external_data) {
        return -ENOTSUP;
    }
    find_clusters(s, offset, data->len, &from, &to);
    ret = co_write_part(node, offset, data, 0, from, false);
    if (ret == 0) {
        ret = co_write_part(node, offset, data, from, to, true);
    }
    return ret < 0 ? ret : co_write_part(node, offset, data, to, data->len, false);
}
