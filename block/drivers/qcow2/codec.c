/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deflate and zstd for single clusters; see codec.h.
 *
 * Deflate is raw (no zlib header), with a window of 4 KiB: other readers of the format have no
 * more, so that nothing may refer further back.
 *
 * Level 4 is the first that looks for a better match at the next byte: against zlib's default (6)
 * it takes three quarters of the time, for 1 to 2 % more bytes.  Memory level 7 keeps the hash
 * table small enough for the first cache and quick to clear: with 9 a cluster of 64 KiB takes 1.3
 * times as long, and saves nothing.  (docs/performance.rst)
 */
#include "block/drivers/qcow2/codec.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define WINDOW_BITS (-12) /* negative: raw */
#define LEVEL 4
#define MEM_LEVEL 7

/* --- deflate --- */

static int zlib_errno(int ret)
{
    return ret == Z_OK ? 0 : ret == Z_MEM_ERROR ? -ENOMEM : -EIO;
}

static ssize_t zlib_pack(void *dst, size_t room, const void *src, size_t len)
{
    z_stream z = { 0 };
    int ret = zlib_errno(deflateInit2(&z, LEVEL, Z_DEFLATED, WINDOW_BITS, MEM_LEVEL,
                                      Z_DEFAULT_STRATEGY));

    if (ret < 0) {
        return ret;
    }
    z.next_in = (Bytef *)src;
    z.avail_in = len;
    z.next_out = dst;
    z.avail_out = room;
    ret = deflate(&z, Z_FINISH);
    ssize_t packed = room - z.avail_out;
    deflateEnd(&z);
    return ret == Z_STREAM_END ? packed : ret == Z_OK || ret == Z_BUF_ERROR ? -ENOSPC : -EIO;
}

/* A stream that goes on behind a full cluster is taken as it is, as others do. */
static int zlib_unpack(void *dst, size_t len, const void *src, size_t src_len)
{
    z_stream z = { .next_in = (Bytef *)src, .avail_in = src_len };
    int ret = zlib_errno(inflateInit2(&z, WINDOW_BITS));

    if (ret < 0) {
        return ret;
    }
    z.next_out = dst;
    z.avail_out = len;
    ret = inflate(&z, Z_FINISH);
    bool ok = z.avail_out == 0 && (ret == Z_STREAM_END || ret == Z_OK || ret == Z_BUF_ERROR);
    inflateEnd(&z);
    return ok ? 0 : ret == Z_MEM_ERROR ? -ENOMEM : -EIO;
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
                                         : zlib_pack(dst, room, src, len);
}

int qcow2_unpack(Qcow2Compression how, void *dst, size_t len, const void *src, size_t src_len)
{
    return how == QCOW2_COMPRESSION_ZSTD ? zstd_unpack(dst, len, src, src_len)
                                         : zlib_unpack(dst, len, src, src_len);
}
