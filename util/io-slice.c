/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Scatter/gather slices; see io-slice.h. */
#include "util/io-slice.h"

#include <glib.h>
#include <stdint.h>
#include <string.h>

/* Walks the parts (runs of bytes in one buffer) of a slice. */
typedef struct PartWalk {
    const struct iovec *iov;
    size_t skip, left;
} PartWalk;

static PartWalk walk_begin(const IoSlice *slice)
{
    return (PartWalk){.iov = slice->iov, .skip = slice->skip, .left = slice->len};
}

/* The next part that is not empty, at most @max bytes of it; false at the end. */
static bool walk_next(PartWalk *walk, size_t max, struct iovec *part)
{
    if (!walk->left) {
        return false;
    }
    while (walk->skip == walk->iov->iov_len) {
        walk->iov++;
        walk->skip = 0;
    }
    part->iov_base = (char *)walk->iov->iov_base + walk->skip;
    part->iov_len = MIN(MIN(walk->iov->iov_len - walk->skip, walk->left), max);
    walk->skip += part->iov_len;
    walk->left -= part->iov_len;
    return true;
}

IoSlice io_slice(const struct iovec *iov, unsigned niov)
{
    IoSlice slice = {.iov = iov, .niov = niov};

    for (unsigned i = 0; i < niov; i++) {
        slice.len += iov[i].iov_len;
    }
    return slice;
}

IoSlice io_slice_sub(const IoSlice *slice, size_t offset, size_t len)
{
    IoSlice sub = *slice;

    g_assert(offset <= slice->len && len <= slice->len - offset);
    sub.len = len;
    sub.skip += offset;
    while (sub.niov > 1 && sub.skip >= sub.iov->iov_len) {
        sub.skip -= sub.iov->iov_len;
        sub.iov++;
        sub.niov--;
    }
    return sub;
}

unsigned io_slice_to_iov(const IoSlice *slice, struct iovec *iov, unsigned max, size_t *covered)
{
    PartWalk walk = walk_begin(slice);
    unsigned n = 0;

    while (n < max && walk_next(&walk, SIZE_MAX, &iov[n])) {
        n++;
    }
    if (covered) {
        *covered = slice->len - walk.left;
    } else {
        g_assert(!walk.left);
    }
    return n;
}

void io_slice_read(const IoSlice *slice, void *buf)
{
    PartWalk walk = walk_begin(slice);
    struct iovec part;
    char *to = buf;

    while (walk_next(&walk, SIZE_MAX, &part)) {
        memcpy(to, part.iov_base, part.iov_len);
        to += part.iov_len;
    }
}

void io_slice_write(const IoSlice *slice, const void *buf, size_t len)
{
    IoSlice first = io_slice_sub(slice, 0, len);
    PartWalk walk = walk_begin(&first);
    struct iovec part;
    const char *from = buf;

    while (walk_next(&walk, SIZE_MAX, &part)) {
        memcpy(part.iov_base, from, part.iov_len);
        from += part.iov_len;
    }
}

void io_slice_copy(const IoSlice *dst, const IoSlice *src)
{
    PartWalk to = walk_begin(dst), from = walk_begin(src);
    struct iovec out = {0}, in = {0};

    g_assert(src->len <= dst->len);
    while (walk_next(&from, SIZE_MAX, &in)) {
        while (in.iov_len && walk_next(&to, in.iov_len, &out)) {
            memcpy(out.iov_base, in.iov_base, out.iov_len);
            in.iov_base = (char *)in.iov_base + out.iov_len;
            in.iov_len -= out.iov_len;
        }
    }
}

void io_slice_zero(const IoSlice *slice)
{
    PartWalk walk = walk_begin(slice);
    struct iovec part;

    while (walk_next(&walk, SIZE_MAX, &part)) {
        memset(part.iov_base, 0, part.iov_len);
    }
}

bool io_slice_is_zero(const IoSlice *slice)
{
    PartWalk walk = walk_begin(slice);
    struct iovec part;

    while (walk_next(&walk, SIZE_MAX, &part)) {
        if (!buffer_is_zero(part.iov_base, part.iov_len)) {
            return false;
        }
    }
    return true;
}

bool io_slice_is_aligned(const IoSlice *slice, size_t align)
{
    PartWalk walk = walk_begin(slice);
    struct iovec part;

    while (walk_next(&walk, SIZE_MAX, &part)) {
        if (((uintptr_t)part.iov_base | part.iov_len) & (align - 1)) {
            return false;
        }
    }
    return true;
}

/*
 * Bytes that equal themselves shifted by 16 repeat their first 16: all are zero if those are.  So
 * the C library's memcmp(), vectorised for the machine at hand, does the work.
 */
bool buffer_is_zero(const void *buf, size_t len)
{
    static const char zeroes[16];
    size_t head = MIN(len, sizeof(zeroes));

    return memcmp(buf, zeroes, head) == 0 &&
           memcmp(buf, (const char *)buf + head, len - head) == 0;
}
