/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hooks in the gate of a node: run before and after each request, and may yield, and around each
 * question for block status.  Used where
 * something must know of the requests to a node without being a filter above it (saved data that
 * stands in front of a scratch node, durable marks).
 */
#ifndef BLOCK_HOOK_H
#define BLOCK_HOOK_H

#include "block/block-req.h"
#include "block/driver.h"

struct BlockHook {
    /* Before the driver is called; an error (-errno) fails the request.  May be NULL. */
    int (*co_before)(BlockHook *hook, BlockReq *req);
    /*
     * After it; @ret is the request's result, the return value replaces it.  For a read @data holds
     * what was read (NULL for all but reads and writes).  May be NULL.
     */
    int (*co_after)(BlockHook *hook, BlockReq *req, const IoSlice *data, int ret);
    /*
     * Block status: before the node, and what is below it where it has nothing, are asked.  True:
     * *status is the answer.  Else they are asked for at most *bytes, which may be cut here; with
     * *recheck the answer may be old news when it comes.  Must not yield.  Both or none.
     */
    bool (*status_before)(BlockHook *hook, int64_t offset, int64_t *bytes, BlockStatus *status,
                          bool *recheck);
    /* Such an answer: may be cut to what is still true of it; false: nothing is, ask again. */
    bool (*status_after)(BlockHook *hook, int64_t offset, BlockStatus *status);
};

/* Loop 0, graph drained.  The hook must stay until it was removed. */
void block_hook_add(BlockNode *node, BlockHook *hook);
void block_hook_remove(BlockNode *node, BlockHook *hook);

#endif
