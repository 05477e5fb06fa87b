/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The data buffers of one connection; see buffer-pool.h. */
#include "nbd-export/buffer-pool.h"

#include <glib.h>
#include <stdlib.h>

/* Suits O_DIRECT on every device there is. */
#define ALIGNMENT 4096

static unsigned shift_of(size_t len)
{
    unsigned shift = NBD_BUFFER_MIN_SHIFT;

    g_assert(len > 0 && len <= (size_t)1 << NBD_BUFFER_MAX_SHIFT);
    if (len > (size_t)1 << NBD_BUFFER_MIN_SHIFT) {
        shift = g_bit_storage(len - 1);
    }
    return shift;
}

bool nbd_buffers_have_room(const NbdBufferPool *pool, size_t len)
{
    size_t size = (size_t)1 << shift_of(len);

    return pool->bytes_used == 0 || pool->bytes_used + size <= NBD_BUFFERS_MAX_USED;
}

void *nbd_buffer_get(NbdBufferPool *pool, size_t len)
{
    unsigned shift = shift_of(len);
    NbdBuffer **kept = &pool->kept[shift - NBD_BUFFER_MIN_SHIFT];
    size_t size = (size_t)1 << shift;
    void *buffer = *kept;

    if (buffer) {
        *kept = (*kept)->next;
        pool->bytes_kept -= size;
    } else {
        buffer = aligned_alloc(ALIGNMENT, size);
    }
    if (buffer) {
        pool->bytes_used += size;
    }
    return buffer;
}

void nbd_buffer_put(NbdBufferPool *pool, void *buffer, size_t len)
{
    unsigned shift = shift_of(len);
    NbdBuffer **kept = &pool->kept[shift - NBD_BUFFER_MIN_SHIFT];
    size_t size = (size_t)1 << shift;
    NbdBuffer *link = buffer;

    pool->bytes_used -= size;
    if (pool->bytes_kept + size > NBD_BUFFERS_MAX_KEPT) {
        free(buffer);
        return;
    }
    link->next = *kept;
    *kept = link;
    pool->bytes_kept += size;
}

void nbd_buffers_clear(NbdBufferPool *pool)
{
    g_assert(pool->bytes_used == 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(pool->kept); i++) {
        while (pool->kept[i]) {
            NbdBuffer *buffer = pool->kept[i];

            pool->kept[i] = buffer->next;
            free(buffer);
        }
    }
    pool->bytes_kept = 0;
}
