/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Data buffers; see buffer-pool.h. */
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

/* A buffer that is kept, or NULL. */
static void *take_kept(NbdBufferStore *store, unsigned shift)
{
    NbdBuffer **kept = &store->kept[shift - NBD_BUFFER_MIN_SHIFT];
    NbdBuffer *buffer = *kept;

    if (buffer) {
        *kept = buffer->next;
        store->bytes_kept -= (size_t)1 << shift;
    }
    return buffer;
}

void *nbd_buffer_get(NbdBufferPool *pool, size_t len)
{
    unsigned shift = shift_of(len);
    size_t size = (size_t)1 << shift;
    void *buffer = pool->store ? take_kept(pool->store, shift) : NULL;

    if (!buffer) {
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
    NbdBufferStore *store = pool->store;
    size_t size = (size_t)1 << shift;
    NbdBuffer *link = buffer;

    pool->bytes_used -= size;
    if (!store || store->bytes_kept + size > NBD_BUFFERS_MAX_KEPT) {
        free(buffer);
        return;
    }
    link->next = store->kept[shift - NBD_BUFFER_MIN_SHIFT];
    store->kept[shift - NBD_BUFFER_MIN_SHIFT] = link;
    store->bytes_kept += size;
}

void nbd_buffers_clear(NbdBufferStore *store)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(store->kept); i++) {
        while (store->kept[i]) {
            NbdBuffer *buffer = store->kept[i];

            store->kept[i] = buffer->next;
            free(buffer);
        }
    }
    store->bytes_kept = 0;
}
