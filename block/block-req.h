/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tracked requests: the list of what is in flight in a node, and waiting for what overlaps.
 * All of it on the node's loop.
 */
#ifndef BLOCK_BLOCK_REQ_H
#define BLOCK_BLOCK_REQ_H

#include "block/node.h"

typedef enum BlockReqType {
    BLOCK_REQ_READ,
    BLOCK_REQ_WRITE,
    BLOCK_REQ_WRITE_ZEROES,
    BLOCK_REQ_DISCARD,
    BLOCK_REQ_TRUNCATE,
} BlockReqType;

/* A byte range in flight.  Lives on the stack of the request's coroutine. */
struct BlockReq {
    BlockNode *node;
    BlockReqType type;
    unsigned flags;               /* BlockFlags */
    int64_t offset, bytes;        /* what was asked for */
    int64_t over_offset, over_bytes; /* what counts for overlaps: rounded out when serialising */
    uint64_t sequence;            /* order in which requests began */
    bool serialising;
    BlockReq *waiting_for;        /* breaks cycles: nobody waits for one that waits for him */
    BlockReq *next, **prev;       /* node->requests */
    CoQueue waiters;
};

void block_req_begin(BlockReq *req, BlockNode *node, BlockReqType type, int64_t offset,
                     int64_t bytes, unsigned flags);
void block_req_end(BlockReq *req);

/* Makes it serialising, with its range rounded out to @align, and waits for what overlaps. */
void co_block_req_serialise(BlockReq *req, int64_t align);

/* Waits for the serialising requests that overlap @req. */
void co_block_req_wait_serialising(BlockReq *req);

static inline bool block_req_changes(const BlockReq *req)
{
    return req->type != BLOCK_REQ_READ;
}

#endif
