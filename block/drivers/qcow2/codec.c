/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deflate and zstd for single clusters; see codec.h.
 *
 * Deflate is raw (no zlib header), written with a window of 4 KiB: other readers of the format have
 * no more, so that nothing may refer further back.  Read is what any window has made.
 *
 * It is ISA-L's, at level 2: as small as zlib makes it at its default level, in a sixth of the time
 * (docs/performance.rst).
 */
#include "block/drivers/qcow2/codec.h"

#include <errno.h>
#include <glib.h>
#include <isa-l/igzip_lib.h>
#include <stdbool.h>
#include <zstd.h>
#include <zstd_errors.h>

#define WINDOW_BITS 12
#define LEVEL 2

/* --- deflate --- */

typedef struct Deflater {
    struct isal_zstream stream;
    uint8_t level_buf[ISAL_DEF_LVL2_LARGE];
} Deflater;

static ssize_t deflate_pack(void *dst, size_t room, const void *src, size_t len)
{
    g_autofree Deflater *d = g_try_malloc(sizeof(*d));
    struct isal_zstream *z;

    if (!d) {
        return -ENOMEM;
    }
    z = &d->stream;
    isal_deflate_init(z);
    z->level = LEVEL;
    z->level_buf = d->level_buf;
    z->level_buf_size = sizeof(d->level_buf);
    z->hist_bits = WINDOW_BITS;
    z->end_of_stream = 1;
    z->next_in = (uint8_t *)src;
    z->avail_in = len;
    z->next_out = dst;
    z->avail_out = room;
    if (isal_deflate(z) != COMP_OK) {
        return -EIO;
    }
    return z->internal_state.state == ZSTATE_END ? (ssize_t)z->total_out : -ENOSPC;
}

/* A stream that goes on behind a full cluster is taken as it is, as others do. */
static int deflate_unpack(void *dst, size_t len, const void *src, size_t src_len)
{
    g_autofree struct inflate_state *z = g_try_new(struct inflate_state, 1);

    if (!z) {
        return -ENOMEM;
    }
    isal_inflate_init(z);
    z->next_in = (uint8_t *)src;
    z->avail_in = src_len;
    z->next_out = dst;
    z->avail_out = len;
    return isal_inflate(z) >= ISAL_DECOMP_OK && z->avail_out == 0 ? 0 : -EIO;
}

/* --- zstd --- */

static ssize_t zstd_pack(void *dst, size_t room, const void *src, size_t len)
{
    size_t n = ZSTD_compress(dst, room, src, len, ZSTD_CLEVEL_DEFAULT);

    if (!ZSTD_isError(n)) {
        return n;
    }
    switch (ZSTD_getErrorCode(n)) {
    case ZSTD_error_dstSize_tooSmall:
        return -ENOSPC;
    case ZSTD_error_memory_allocation:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

/* One step of the stream: false when it is at its end, damaged, or out of input. */
static bool zstd_step(ZSTD_DCtx *ctx, ZSTD_outBuffer *out, ZSTD_inBuffer *in, size_t *ret)
{
    size_t was_out = out->pos, was_in = in->pos;

    *ret = ZSTD_decompressStream(ctx, out, in);
    return !ZSTD_isError(*ret) && out->pos < out->size &&
           (out->pos > was_out || in->pos > was_in);
}

/* The length of the compressed data is known only to a sector, so that it is read as a stream. */
static int zstd_unpack(void *dst, size_t len, const void *src, size_t src_len)
{
    ZSTD_outBuffer out = { .dst = dst, .size = len };
    ZSTD_inBuffer in = { .src = src, .size = src_len };
    ZSTD_DCtx *ctx = ZSTD_createDCtx();
    size_t ret;

    if (!ctx) {
        return -ENOMEM;
    }
    while (zstd_step(ctx, &out, &in, &ret)) {
    }
    ZSTD_freeDCtx(ctx);
    /* ret > 0: the frame holds more than a cluster. */
    return ret == 0 && out.pos == len ? 0 : -EIO;
}

/* --- either --- */

ssize_t qcow2_pack(Qcow2Compression how, void *dst, size_t room, const void *src, size_t len)
{
    return how == QCOW2_COMPRESSION_ZSTD ? zstd_pack(dst, room, src, len)
                                         : deflate_pack(dst, room, src, len);
}

int qcow2_unpack(Qcow2Compression how, void *dst, size_t len, const void *src, size_t src_len)
{
    return how == QCOW2_COMPRESSION_ZSTD ? zstd_unpack(dst, len, src, src_len)
                                         : deflate_unpack(dst, len, src, src_len);
}
