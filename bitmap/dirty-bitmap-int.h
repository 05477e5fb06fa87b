/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inside a DirtyBitmap; private to the dirty-*.c files. */
#ifndef BITMAP_DIRTY_BITMAP_INT_H
#define BITMAP_DIRTY_BITMAP_INT_H

#include "bitmap/dirty-bitmap.h"

struct DirtyBitmap {
    char *name;
    int64_t size; /* bytes of the disk */
    uint32_t granularity;
    bool disabled;
    bool busy;
    bool readonly;
    bool persistent;
    bool inconsistent;
    bool skip_store;
    SparseBitmap *bits;
    DirtyBitmap *successor; /* anonymous; of the same size and granularity */
};

#endif
