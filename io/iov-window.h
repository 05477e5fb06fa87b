/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The iovecs of the first part of a slice, as a system call takes them; private to io/.  Uses the
 * slice's own array where that fits, else a small copy, and memory only for long lists.
 */
#ifndef IO_IOV_WINDOW_H
#define IO_IOV_WINDOW_H

#include "util/io-slice.h"

#define IOV_WINDOW_FIXED 16

typedef struct IovWindow {
    const struct iovec *iov;
    unsigned niov; /* at most IOV_MAX */
    struct iovec fixed[IOV_WINDOW_FIXED];
    struct iovec *allocated;
} IovWindow;

void iov_window_open(IovWindow *window, const IoSlice *slice);
void iov_window_close(IovWindow *window);

#endif
