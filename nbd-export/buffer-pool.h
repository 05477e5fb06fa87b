/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The data buffers of one connection: bounded in bytes, and kept for the next request.
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

/* Handed out at most, and kept unused at most; bytes. */
#define NBD_BUFFERS_MAX_USED (64u << 20)
#define NBD_BUFFERS_MAX_KEPT (16u << 20)

typedef struct NbdBuffer {
    struct NbdBuffer *next; /* private, and lies in the buffer while it is unused */
} NbdBuffer;

typedef struct NbdBufferPool {
    NbdBuffer *kept[NBD_BUFFER_MAX_SHIFT - NBD_BUFFER_MIN_SHIFT + 1];
    size_t bytes_used, bytes_kept;
} NbdBufferPool;

/* Is there room for one more buffer of @len bytes?  Always when none is handed out. */
bool nbd_buffers_have_room(const NbdBufferPool *pool, size_t len);

/* A page-aligned buffer for @len bytes (1 to NBD_MAX_PAYLOAD); NULL when out of memory. */
void *nbd_buffer_get(NbdBufferPool *pool, size_t len);

/* Takes it back; @len as when it was handed out. */
void nbd_buffer_put(NbdBufferPool *pool, void *buffer, size_t len);

/* Frees what is kept; nothing may be handed out. */
void nbd_buffers_clear(NbdBufferPool *pool);

#endif
