/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What of a file is data and what is hole, by SEEK_DATA and SEEK_HOLE (which may block). */
#include "block/drivers/file.h"
#include "io/worker.h"

#include <errno.h>
#include <unistd.h>

/* The extent around an offset. */
typedef struct Extent {
    int fd;
    int64_t offset;
    bool data;
    int64_t end; /* INT64_MAX: to the end of the file or beyond */
} Extent;

/* Asks for the extent that @offset lies in; where the file system cannot tell, all is data. */
static int seek_worker(void *opaque)
{
    Extent *e = opaque;
    off_t data = lseek(e->fd, e->offset, SEEK_DATA);

    e->end = INT64_MAX;
    if (data < 0) {
        e->data = errno != ENXIO; /* ENXIO: no more data before the end */
        return 0;
    }
    if (data > e->offset) {
        e->data = false;
        e->end = data;
        return 0;
    }
    off_t hole = lseek(e->fd, e->offset, SEEK_HOLE);
    e->data = true;
    /* Between the two calls somebody may have made it a hole, or the file shorter. */
    e->end = hole > e->offset ? hole : e->offset + 1;
    return 0;
}

void file_forget_data(FileState *s)
{
    s->data_start = s->data_end = 0;
    s->data_gen++;
}

/* Data is data until something makes a hole; a stale answer costs a read, never a byte. */
static void co_find_extent(FileState *s, Extent *e)
{
    if (e->offset >= s->data_start && e->offset < s->data_end) {
        e->data = true;
        e->end = s->data_end;
        return;
    }
    unsigned gen = s->data_gen;
    co_in_worker(seek_worker, e);
    if (e->data && gen == s->data_gen) {
        s->data_start = e->offset;
        s->data_end = e->end;
    }
}

static int64_t run_length(const Extent *e, int64_t bytes, uint32_t align)
{
    if (e->end - e->offset >= bytes) {
        return bytes;
    }
    /* Runs are in whole blocks: the last one of the file may be partly there, one that is hole only
     * in part is data. */
    int64_t run = e->end - e->offset;
    run = e->data ? (run + align - 1) / align * align : run / align * align;
    return MIN(run, bytes);
}

int file_co_block_status(BlockNode *node, bool want_zero, int64_t offset, int64_t bytes,
                         BlockStatus *status)
{
    FileState *s = node->state;
    Extent e = {.fd = s->fd, .offset = offset, .data = true, .end = INT64_MAX};

    if (want_zero) {
        co_find_extent(s, &e);
    }
    int64_t run = run_length(&e, bytes, s->request_alignment);
    if (run == 0) {
        e.data = true;
        run = MIN(bytes, s->request_alignment);
    }
    *status = (BlockStatus){
        .flags = BLOCK_STATUS_OFFSET_VALID | (e.data ? BLOCK_STATUS_DATA : BLOCK_STATUS_ZERO),
        .bytes = run,
        .map = offset,
        .file = node,
    };
    return 0;
}
