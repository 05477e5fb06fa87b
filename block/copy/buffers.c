/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Buffers of a copy, kept for the next use: fresh memory for each chunk would cost more than the
 * copy itself, since O_DIRECT makes the kernel fault in, clear and give back every page.
 *
 * They are cut from huge pages.  For O_DIRECT the kernel looks up, and holds, each page of a
 * buffer: from small ones that is most of what a copy costs.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "block/copy/copy-int.h"

#define HUGE_PAGE ((size_t)2 << 20)

/* For single clusters and for whole chunks; larger ones are not kept. */
static const size_t buffer_sizes[COPY_BUFFER_SIZES] = { 64 << 10, 512 << 10 };

struct CopyBuffer {
    CopyBuffer *next;
};

/* Which of the sizes holds @len; COPY_BUFFER_SIZES: none. */
static unsigned size_for(size_t len)
{
    unsigned i = 0;

    while (i < COPY_BUFFER_SIZES && buffer_sizes[i] < len) {
        i++;
    }
    return i;
}

static void push(BlockCopy *copy, unsigned size, CopyBuffer *buffer)
{
    buffer->next = copy->buffers[size];
    copy->buffers[size] = buffer;
}

/* That it be one page is but a wish: without, it works as well. */
static void cut_huge_page(BlockCopy *copy, unsigned size)
{
    char *page = aligned_alloc(HUGE_PAGE, HUGE_PAGE);

    if (!page) {
        return;
    }
    if (madvise(page, HUGE_PAGE, MADV_HUGEPAGE) < 0) {
        g_debug("no huge pages: %m");
    }
    copy->huge_pages = g_slist_prepend(copy->huge_pages, page);
    for (size_t end = HUGE_PAGE; end > 0; end -= buffer_sizes[size]) {
        push(copy, size, (CopyBuffer *)(page + end - buffer_sizes[size]));
    }
}

void *copy_buffer_get(BlockCopy *copy, size_t len)
{
    unsigned size = size_for(len);
    CopyBuffer *buffer;

    if (size == COPY_BUFFER_SIZES) {
        return copy_alloc(copy, len);
    }
    if (!copy->buffers[size]) {
        cut_huge_page(copy, size);
    }
    buffer = copy->buffers[size];
    if (buffer) {
        copy->buffers[size] = buffer->next;
    }
    return buffer;
}

void copy_buffer_put(BlockCopy *copy, void *buf, size_t len)
{
    unsigned size = size_for(len);

    if (size == COPY_BUFFER_SIZES) {
        free(buf);
    } else if (buf) {
        push(copy, size, buf);
    }
}

void copy_buffers_free(BlockCopy *copy)
{
    g_slist_free_full(copy->huge_pages, free);
}
