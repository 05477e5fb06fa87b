/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The iovecs of the first part of a slice; see iov-window.h. */
#include "io/iov-window.h"

#include <glib.h>

#define MAX_IOVS 1024 /* UIO_MAXIOV, Linux' limit */

/* How many buffers hold the slice; *whole: they hold nothing else. */
static unsigned count_buffers(const IoSlice *slice, bool *whole)
{
    size_t end = slice->skip + slice->len, at = 0;
    unsigned n = 0;

    while (at < end) {
        at += slice->iov[n++].iov_len;
    }
    *whole = !slice->skip && at == end;
    return n;
}

void iov_window_open(IovWindow *window, const IoSlice *slice)
{
    size_t covered;
    bool whole;
    unsigned n = count_buffers(slice, &whole);

    window->allocated = NULL;
    if (whole) {
        window->iov = slice->iov;
        window->niov = MIN(n, MAX_IOVS);
        return;
    }
    n = MIN(n, MAX_IOVS);
    window->allocated = n > IOV_WINDOW_FIXED ? g_new(struct iovec, n) : NULL;
    window->iov = window->allocated ? window->allocated : window->fixed;
    window->niov = io_slice_to_iov(slice, (struct iovec *)window->iov, n, &covered);
}

void iov_window_close(IovWindow *window)
{
    g_free(window->allocated);
}
