/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The messages of the transmission phase as bytes; see wire.h. */
#include "nbd-export/wire.h"

/* By the text a write with extended headers sets the flag, too; QEMU's client (10.0) does not. */
static uint64_t payload_of(const NbdHeader *header, NbdMode mode)
{
    bool tells = mode == NBD_MODE_EXTENDED && header->flags & NBD_CMD_FLAG_PAYLOAD_LEN;

    return tells || header->command == NBD_CMD_WRITE ? header->length : 0;
}

bool nbd_header_get(const uint8_t *p, NbdMode mode, NbdHeader *header)
{
    bool extended = mode == NBD_MODE_EXTENDED;

    if (get_be32(p) != (extended ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC)) {
        return false;
    }
    *header = (NbdHeader){
        .flags = get_be16(p + 4),
        .command = get_be16(p + 6),
        .cookie = get_be64(p + 8),
        .offset = get_be64(p + 16),
        .length = extended ? get_be64(p + 24) : get_be32(p + 24),
    };
    header->payload = payload_of(header, mode);
    return true;
}

uint8_t *nbd_chunk_header_put(uint8_t *p, NbdMode mode, uint16_t type, uint64_t cookie,
                              uint64_t offset, uint32_t len)
{
    bool extended = mode == NBD_MODE_EXTENDED;

    p = nbd_put32(p, extended ? NBD_EXTENDED_REPLY_MAGIC : NBD_STRUCTURED_REPLY_MAGIC);
    p = nbd_put64(nbd_put16(nbd_put16(p, 0), type), cookie);
    return extended ? nbd_put64(nbd_put64(p, offset), len) : nbd_put32(p, len);
}
