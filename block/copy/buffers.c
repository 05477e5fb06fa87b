/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Buffers of a copy, kept for the next use: fresh memory for each chunk would cost more than the
 * copy itself, since O_DIRECT makes the kernel fault in, clear and give back every page.
 */
#include <stdlib.h>

#include "block/copy/copy-int.h"

struct CopyBuffer {
    CopyBuffer *next;
};

static size_t real_len(size_t len)
{
    return MAX(len, COPY_BUFFER_BYTES);
}

static void *new_buffer(BlockCopy *copy, size_t len)
{
    void *buf = copy_alloc(copy, len);

    copy->buffer_bytes += buf ? len : 0;
    return buf;
}

void *copy_buffer_get(BlockCopy *copy, size_t len)
{
    CopyBuffer *buffer = copy->buffers;

    if (len > COPY_BUFFER_BYTES || !buffer) {
        return new_buffer(copy, real_len(len));
    }
    copy->buffers = buffer->next;
    copy->n_buffers--;
    return buffer;
}

void copy_buffer_put(BlockCopy *copy, void *buf, size_t len)
{
    CopyBuffer *buffer = buf;

    if (!buf) {
        return;
    }
    if (len > COPY_BUFFER_BYTES || copy->n_buffers == COPY_BUFFERS_KEPT) {
        copy->buffer_bytes -= real_len(len);
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
