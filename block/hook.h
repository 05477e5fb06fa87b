/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hooks in the gate of a node: run before and after each request, and may yield.  Used where
 * something must know of the requests to a node without being a filter above it (saved data that
 * stands in front of a scratch node, durable marks).
 */
#ifndef BLOCK_HOOK_H
#define BLOCK_HOOK_H

#include "block/block-req.h"
#include "util/io-slice.h"

struct BlockHook {
    /* Before the driver is called; an error (-errno) fails the request.  May be NULL. */
    int (*co_before)(BlockHook *hook, BlockReq *req);
    /*
     * After it; @ret is the request's result, the return value replaces it.  For a read @data holds
     * what was read (NULL for all but reads and writes).  May be NULL.
     */
    int (*co_after)(BlockHook *hook, BlockReq *req, const IoSlice *data, int ret);
};

/* Loop 0, graph drained.  The hook must stay until it was removed. */
void block_hook_add(BlockNode *node, BlockHook *hook);
void block_hook_remove(BlockNode *node, BlockHook *hook);

#endif
