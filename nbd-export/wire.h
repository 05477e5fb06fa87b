/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The messages of the transmission phase as bytes, in each mode that a connection can have agreed
 * on.  Nothing here yields, allocates or looks at what a message means.
 */
#ifndef NBD_EXPORT_WIRE_H
#define NBD_EXPORT_WIRE_H

#include <stdbool.h>

#include "nbd-export/protocol.h"

/* --- Requests --- */

typedef struct NbdHeader {
    uint16_t flags, command;
    uint64_t cookie, offset;
    uint64_t length;  /* of the payload or of the range, as the flags have it */
    uint64_t payload; /* bytes that follow the header */
} NbdHeader;

static inline size_t nbd_header_size(NbdMode mode)
{
    return mode == NBD_MODE_EXTENDED ? NBD_EXTENDED_REQUEST_SIZE : NBD_REQUEST_SIZE;
}

/* Reads nbd_header_size() bytes; false where the magic is not the mode's. */
bool nbd_header_get(const uint8_t *p, NbdMode mode, NbdHeader *header);

/* The payload of a BLOCK_STATUS: the length of the range, and context ids up to its end. */
#define NBD_STATUS_PAYLOAD_FIXED 8

/* How many ids a payload of @len bytes holds; -1 where it is none. */
static inline int64_t nbd_status_payload_ids(uint64_t len)
{
    return len < NBD_STATUS_PAYLOAD_FIXED || len % 4
               ? -1
               : (int64_t)(len - NBD_STATUS_PAYLOAD_FIXED) / 4;
}

/* --- Replies --- */

static inline size_t nbd_chunk_header_size(NbdMode mode)
{
    return mode == NBD_MODE_EXTENDED ? NBD_EXTENDED_CHUNK_HEADER_SIZE : NBD_CHUNK_HEADER_SIZE;
}

/*
 * Writes the header of a chunk (not in the simple mode) without NBD_REPLY_FLAG_DONE; @offset: of
 * the request; @len: bytes behind the header.  Returns the place behind it.
 */
uint8_t *nbd_chunk_header_put(uint8_t *p, NbdMode mode, uint16_t type, uint64_t cookie,
                              uint64_t offset, uint32_t len);

/* Marks a chunk as the last one of its reply. */
static inline void nbd_chunk_header_set_done(uint8_t *p)
{
    put_be16(p + 4, NBD_REPLY_FLAG_DONE);
}

/* --- Extents of a block status --- */

/* In front of the extents: the context's id, and in the extended mode their number. */
static inline size_t nbd_status_head_size(NbdMode mode)
{
    return mode == NBD_MODE_EXTENDED ? 8 : 4;
}

static inline size_t nbd_extent_size(NbdMode mode)
{
    return mode == NBD_MODE_EXTENDED ? 16 : 8;
}

static inline uint8_t *nbd_extent_put(uint8_t *p, NbdMode mode, uint64_t length, uint32_t flags)
{
    return mode == NBD_MODE_EXTENDED ? nbd_put64(nbd_put64(p, length), flags)
                                     : nbd_put32(nbd_put32(p, length), flags);
}

#endif
