/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tracked requests; see block-req.h. */
#include "block/block-req.h"

void block_req_begin(BlockReq *req, BlockNode *node, BlockReqType type, int64_t offset,
                     int64_t bytes, unsigned flags)
{
    *req = (BlockReq){
        .node = node,
        .type = type,
        .flags = flags,
        .offset = offset,
        .bytes = bytes,
        .over_offset = offset,
        .over_bytes = bytes,
        .sequence = node->requests.next_sequence++,
        .next = node->requests.first,
        .prev = &node->requests.first,
    };
    if (req->next) {
        req->next->prev = &req->next;
    }
    node->requests.first = req;
}

void block_req_end(BlockReq *req)
{
    if (req->serialising) {
        req->node->serialising--;
    }
    *req->prev = req->next;
    if (req->next) {
        req->next->prev = req->prev;
    }
    co_queue_wake_all(&req->waiters);
}

static bool overlaps(const BlockReq *req, int64_t offset, int64_t bytes)
{
    return req->over_offset < offset + bytes && offset < req->over_offset + req->over_bytes;
}

/*
 * A request that waits itself is passed over: it looks for conflicts again when it wakes up, and
 * then waits for us.  So no two wait for each other.
 */
static BlockReq *find_conflict(const BlockReq *self)
{
    for (BlockReq *other = self->node->requests.first; other; other = other->next) {
        if (other != self && (other->serialising || self->serialising) && !other->waiting_for &&
            overlaps(other, self->over_offset, self->over_bytes)) {
            return other;
        }
    }
    return NULL;
}

void co_block_req_wait_serialising(BlockReq *req)
{
    BlockReq *other;

    while (req->node->serialising && (other = find_conflict(req))) {
        req->waiting_for = other;
        co_queue_wait(&other->waiters);
        req->waiting_for = NULL;
    }
}

void co_block_req_serialise(BlockReq *req, int64_t align)
{
    int64_t start = req->offset / align * align;
    int64_t end = (req->offset + req->bytes + align - 1) / align * align;

    req->over_offset = MIN(req->over_offset, start);
    req->over_bytes = MAX(req->over_offset + req->over_bytes, end) - req->over_offset;
    if (!req->serialising) {
        req->serialising = true;
        req->node->serialising++;
    }
    co_block_req_wait_serialising(req);
}
