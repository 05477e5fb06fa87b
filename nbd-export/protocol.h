/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The NBD protocol's numbers, and big-endian access to its messages (NetworkBlockDevice/nbd,
 * doc/proto.md).
 */
#ifndef NBD_EXPORT_PROTOCOL_H
#define NBD_EXPORT_PROTOCOL_H

#include <glib.h>
#include <stdint.h>
#include <string.h>

#include "util/big-endian.h"

#define NBD_INIT_MAGIC 0x4e42444d41474943ULL   /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC 0x49484156454f5054ULL /* "IHAVEOPT" */
#define NBD_OPTION_REPLY_MAGIC 0x0003e889045565a9ULL
#define NBD_REQUEST_MAGIC 0x25609513u
#define NBD_EXTENDED_REQUEST_MAGIC 0x21e41c71u
#define NBD_SIMPLE_REPLY_MAGIC 0x67446698u
#define NBD_STRUCTURED_REPLY_MAGIC 0x668e33efu
#define NBD_EXTENDED_REPLY_MAGIC 0x6e8a278cu

#define NBD_MAX_STRING 4096         /* names, queries, messages; bytes */
#define NBD_MAX_PAYLOAD (32u << 20) /* of a read or write; what the text calls portable */
#define NBD_EXPORT_NAME_ZEROES 124

/* Sizes of fixed messages, in bytes. */
#define NBD_OPTION_HEADER_SIZE 16
#define NBD_OPTION_REPLY_HEADER_SIZE 20
#define NBD_REQUEST_SIZE 28
#define NBD_EXTENDED_REQUEST_SIZE 32
#define NBD_SIMPLE_REPLY_SIZE 16
#define NBD_CHUNK_HEADER_SIZE 20
#define NBD_EXTENDED_CHUNK_HEADER_SIZE 32

/* Which messages a connection uses in transmission; each is what the ones before it are, and more.
 */
typedef enum NbdMode {
    NBD_MODE_SIMPLE,
    NBD_MODE_STRUCTURED, /* replies in chunks, errors with texts */
    NBD_MODE_EXTENDED,   /* 64-bit lengths both ways, payloads with any request */
} NbdMode;

enum { /* handshake flags, and client flags */
       NBD_FLAG_FIXED_NEWSTYLE = 1 << 0,
       NBD_FLAG_NO_ZEROES = 1 << 1,
};

enum { /* transmission flags */
       NBD_FLAG_HAS_FLAGS = 1 << 0,
       NBD_FLAG_READ_ONLY = 1 << 1,
       NBD_FLAG_SEND_FLUSH = 1 << 2,
       NBD_FLAG_SEND_FUA = 1 << 3,
       NBD_FLAG_SEND_TRIM = 1 << 5,
       NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6,
       NBD_FLAG_SEND_DF = 1 << 7,
       NBD_FLAG_CAN_MULTI_CONN = 1 << 8,
       NBD_FLAG_SEND_CACHE = 1 << 10,
       NBD_FLAG_SEND_FAST_ZERO = 1 << 11,
       NBD_FLAG_BLOCK_STATUS_PAYLOAD = 1 << 12,
};

typedef enum NbdOption {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_STARTTLS = 5,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT = 10,
    NBD_OPT_EXTENDED_HEADERS = 11,
} NbdOption;

typedef enum NbdOptionReply {
    NBD_REP_ACK = 1,
    NBD_REP_SERVER = 2,
    NBD_REP_INFO = 3,
    NBD_REP_META_CONTEXT = 4,
} NbdOptionReply;

#define NBD_REP_ERR_UNSUP 0x80000001u
#define NBD_REP_ERR_POLICY 0x80000002u
#define NBD_REP_ERR_INVALID 0x80000003u
#define NBD_REP_ERR_UNKNOWN 0x80000006u
#define NBD_REP_ERR_BLOCK_SIZE_REQD 0x80000008u
#define NBD_REP_ERR_TOO_BIG 0x80000009u
#define NBD_REP_ERR_EXT_HEADER_REQD 0x8000000au

enum {
    NBD_INFO_EXPORT = 0,
    NBD_INFO_NAME = 1,
    NBD_INFO_DESCRIPTION = 2,
    NBD_INFO_BLOCK_SIZE = 3,
};

typedef enum NbdCommand {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_CACHE = 5,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
} NbdCommand;

enum { /* command flags */
       NBD_CMD_FLAG_FUA = 1 << 0,
       NBD_CMD_FLAG_NO_HOLE = 1 << 1,
       NBD_CMD_FLAG_DF = 1 << 2,
       NBD_CMD_FLAG_REQ_ONE = 1 << 3,
       NBD_CMD_FLAG_FAST_ZERO = 1 << 4,
       NBD_CMD_FLAG_PAYLOAD_LEN = 1 << 5, /* the length is a payload's */
};

#define NBD_REPLY_FLAG_DONE 1

enum { /* structured reply types */
       NBD_REPLY_NONE = 0,
       NBD_REPLY_OFFSET_DATA = 1,
       NBD_REPLY_OFFSET_HOLE = 2,
       NBD_REPLY_BLOCK_STATUS = 5,
       NBD_REPLY_BLOCK_STATUS_EXT = 6,
       NBD_REPLY_ERROR = 0x8001,
       NBD_REPLY_ERROR_OFFSET = 0x8002,
};

enum { /* base:allocation */
       NBD_STATE_HOLE = 1 << 0,
       NBD_STATE_ZERO = 1 << 1,
};
enum { /* qemu:dirty-bitmap:NAME */
       NBD_STATE_DIRTY = 1 << 0,
};

/* Error values (they happen to be Linux's). */
enum {
    NBD_EPERM = 1,
    NBD_EIO = 5,
    NBD_ENOMEM = 12,
    NBD_EINVAL = 22,
    NBD_ENOSPC = 28,
    NBD_EOVERFLOW = 75,
    NBD_ENOTSUP = 95,
    NBD_ESHUTDOWN = 108,
};

/* Big-endian stores that return the place behind, and loads. */
static inline uint8_t *nbd_put16(uint8_t *p, uint16_t value)
{
    put_be16(p, value);
    return p + sizeof(value);
}

static inline uint8_t *nbd_put32(uint8_t *p, uint32_t value)
{
    put_be32(p, value);
    return p + sizeof(value);
}

static inline uint8_t *nbd_put64(uint8_t *p, uint64_t value)
{
    put_be64(p, value);
    return p + sizeof(value);
}

#endif
