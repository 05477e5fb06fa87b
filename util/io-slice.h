/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A scatter/gather slice: a view of a run of bytes that lies in one or more buffers.
 *
 * A slice owns nothing; the iovec array and the buffers must outlive it.  Slices are passed by
 * const pointer and cut with io_slice_sub(), which costs no allocation.  "const" covers the view,
 * not the bytes: a read fills them.
 */
#ifndef UTIL_IO_SLICE_H
#define UTIL_IO_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

typedef struct IoSlice {
    const struct iovec *iov; /* the first buffer that holds bytes of the slice */
    unsigned niov;           /* buffers from there on (may be more than the slice needs) */
    size_t skip;             /* bytes of iov[0] that lie before the slice */
    size_t len;              /* bytes in the slice */
} IoSlice;

/* All bytes of the @niov buffers at @iov. */
IoSlice io_slice(const struct iovec *iov, unsigned niov);

/* The @len bytes from @offset on; offset + len must not exceed slice->len. */
IoSlice io_slice_sub(const IoSlice *slice, size_t offset, size_t len);

/*
 * Writes iovecs that cover the slice's bytes exactly to @iov and returns how many; at most @max:
 * where they do not suffice, the iovecs cover a first part and *covered (may be NULL) says how
 * much.
 */
unsigned io_slice_to_iov(const IoSlice *slice, struct iovec *iov, unsigned max, size_t *covered);

/*
 * Copies all of the slice into @buf, or @len bytes of @buf to the slice's start (len <=
 * slice->len).
 */
void io_slice_read(const IoSlice *slice, void *buf);
void io_slice_write(const IoSlice *slice, const void *buf, size_t len);

/* Copies @src into the start of @dst; src->len <= dst->len. */
void io_slice_copy(const IoSlice *dst, const IoSlice *src);

/* Sets all bytes of the slice to zero. */
void io_slice_zero(const IoSlice *slice);

/* Is each byte of the slice zero? */
bool io_slice_is_zero(const IoSlice *slice);

/* Is the address and length of each buffer part a multiple of @align (a power of two)? */
bool io_slice_is_aligned(const IoSlice *slice, size_t align);

/* Is each of the @len bytes at @buf zero?  (Vectorised; for data of any alignment.) */
bool buffer_is_zero(const void *buf, size_t len);

#endif
