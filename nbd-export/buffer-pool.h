/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Data buffers.  Those of one connection are bounded in bytes; unused ones are kept for the next
 * request, of any connection of the same export: so that many connections that have worked and are
 * idle hold no more than one.
 *
 * Sizes are powers of two; what is handed out counts with its whole size.  Not for more than one
 * thread at a time.
 */
#ifndef NBD_EXPORT_BUFFER_POOL_H
#define NBD_EXPORT_BUFFER_POOL_H

#include <stdbool.h>
#include <stddef.h>

#define NBD_BUFFER_MIN_SHIFT 12 /* 4 KiB */
#define NBD_BUFFER_MAX_SHIFT 25 /* NBD_MAX_PAYLOAD */

/* Handed out to a connection at most, and kept unused by an export at most; bytes. */
#define NBD_BUFFERS_MAX_USED (64u << 20)
#define NBD_BUFFERS_MAX_KEPT (16u << 20)

typedef struct NbdBuffer {
    struct NbdBuffer *next; /* private, and lies in the buffer while it is unused */
} NbdBuffer;

/* Of an export: what is unused.  Zero-initialised. */
typedef struct NbdBufferStore {
    NbdBuffer *kept[NBD_BUFFER_MAX_SHIFT - NBD_BUFFER_MIN_SHIFT + 1];
    size_t bytes_kept;
} NbdBufferStore;

/* Of a connection. */
typedef struct NbdBufferPool {
    NbdBufferStore *store; /* NULL on the way from one loop to another: nothing is kept */
    size_t bytes_used;
} NbdBufferPool;

/* Is there room for one more buffer of @len bytes?  Always when none is handed out. */
bool nbd_buffers_have_room(const NbdBufferPool *pool, size_t len);

/* A page-aligned buffer for @len bytes (1 to NBD_MAX_PAYLOAD); NULL when out of memory. */
void *nbd_buffer_get(NbdBufferPool *pool, size_t len);

/* Takes it back; @len as when it was handed out. */
void nbd_buffer_put(NbdBufferPool *pool, void *buffer, size_t len);

/* Frees what is kept. */
void nbd_buffers_clear(NbdBufferStore *store);

#endif
