/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Buffers of a copy, kept for the next use: fresh memory for each chunk would cost more than the
 * copy itself, since O_DIRECT makes the kernel fault in, clear and give back every page.
 */
#include <stdlib.h>

#include "block/copy/copy-int.h"

/* So many are kept at the most; the rest goes back to the system. */
#define BUFFERS_KEPT 32

struct CopyBuffer {
    CopyBuffer *next;
};

void *copy_buffer_get(BlockCopy *copy, size_t len)
{
    CopyBuffer *buffer = copy->buffers;

    if (len > COPY_BUFFER_BYTES || !buffer) {
        return copy_alloc(copy, MAX(len, COPY_BUFFER_BYTES));
    }
    copy->buffers = buffer->next;
    copy->n_buffers--;
    return buffer;
}

void copy_buffer_put(BlockCopy *copy, void *buf, size_t len)
{
    CopyBuffer *buffer = buf;

    if (!buf || len > COPY_BUFFER_BYTES || copy->n_buffers == BUFFERS_KEPT) {
        free(buf);
        return;
    }
    buffer->next = copy->buffers;
    copy->buffers = buffer;
    copy->n_buffers++;
}

void copy_buffers_free(BlockCopy *copy)
{
    for (CopyBuffer *buffer; (buffer = copy->buffers);) {
        copy->buffers = buffer->next;
        free(buffer);
    }
}
