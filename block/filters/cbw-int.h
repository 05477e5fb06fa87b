/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the two files of the copy-before-write filter, and by nobody else. */
#ifndef BLOCK_FILTERS_CBW_INT_H
#define BLOCK_FILTERS_CBW_INT_H

#include "block/copy/leaver.h"

typedef struct CbwState {
    BlockCopy *copy;
    Leaver *leaver; /* of a staged copy without a background copier; or NULL */
    BlockChild *target;
    bool discard_source; /* the copier writes to the source, in a way */
} CbwState;

bool cbw_co_open(BlockNode *node, const BlockdevOptions *options, GError **errp);

#endif
