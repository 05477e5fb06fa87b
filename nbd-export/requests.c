/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The commands: which requests are right, and how each is carried out. */
#include "block/node-io.h"
#include "nbd-export/session.h"

/* A smaller read is simply done; in larger ones holes are looked for first. */
#define SPARSE_READ_MIN (64u << 10)
/* How far to look for the end of data, so that the reads that follow need not. */
#define DATA_LOOKAHEAD (256LL << 20)
/*
 * Zeroes and discards are carried out in pieces of so many bytes, for where a layer below must
 * write zeroes out the whole may take hours: neither drain nor the end of a connection waits for
 * more than a piece.
 */
#define LONG_PIECE (256u << 20)
/* Buffer of NBD_CMD_CACHE. */
#define CACHE_PIECE (1u << 20)
/* Pieces that a reply of a read is cut into at most: what is left then is read as data. */
#define MAX_RUNS 256

/* Of a request that is not done: it goes on when its export takes requests again. */
#define SET_ASIDE 1

/* --- What is right --- */

typedef struct CommandRules {
    const char *name;
    uint16_t flags; /* allowed beside FUA, which every command takes */
    bool has_range;
    bool writes;
    bool bounded;      /* its data is in memory as a whole */
    const char *error; /* how a failure is told */
} CommandRules;

static const CommandRules rules[] = {
    [NBD_CMD_READ] = {.name = "read",
                      .flags = NBD_CMD_FLAG_DF,
                      .has_range = true,
                      .bounded = true,
                      .error = "reading from file failed"},
    [NBD_CMD_WRITE] = {.name = "write",
                       .flags = NBD_CMD_FLAG_PAYLOAD_LEN,
                       .has_range = true,
                       .writes = true,
                       .bounded = true,
                       .error = "writing to file failed"},
    [NBD_CMD_DISC] = {.name = "disconnect"},
    [NBD_CMD_FLUSH] = {.name = "flush", .error = "flush failed"},
    [NBD_CMD_TRIM] = {.name = "trim", .has_range = true, .writes = true, .error = "discard failed"},
    [NBD_CMD_CACHE] = {.name = "cache", .has_range = true, .error = "caching data failed"},
    [NBD_CMD_WRITE_ZEROES] = {.name = "write zeroes",
                              .flags = NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
                              .has_range = true,
                              .writes = true,
                              .error = "writing to file failed"},
    [NBD_CMD_BLOCK_STATUS] = {.name = "block status",
                              .flags = NBD_CMD_FLAG_REQ_ONE | NBD_CMD_FLAG_PAYLOAD_LEN,
                              .has_range = true,
                              .error = "can't get block status"},
};

static uint32_t check_flags(const NbdRequest *request, const CommandRules *rule, char **message)
{
    NbdMode mode = request->session->mode;
    uint16_t allowed = NBD_CMD_FLAG_FUA | rule->flags;

    if (mode < NBD_MODE_STRUCTURED) {
        allowed &= ~NBD_CMD_FLAG_DF; /* SEND_DF was not advertised */
    }
    if (mode < NBD_MODE_EXTENDED) {
        allowed &= ~NBD_CMD_FLAG_PAYLOAD_LEN;
    }
    if (request->flags & ~allowed) {
        *message = g_strdup_printf("unsupported flags for command %s (got 0x%x)", rule->name,
                                   request->flags);
        return NBD_EINVAL;
    }
    return 0;
}

static uint32_t check_range(const NbdRequest *request, const CommandRules *rule, char **message)
{
    uint64_t size = request->session->export->size;

    if (request->offset <= size && request->length <= size - request->offset) {
        return 0;
    }
    *message = g_strdup_printf("operation past EOF; From: %" G_GUINT64_FORMAT
                               ", Len: %" G_GUINT64_FORMAT ", Size: %" G_GUINT64_FORMAT,
                               request->offset, request->length, size);
    return request->command == NBD_CMD_WRITE || request->command == NBD_CMD_WRITE_ZEROES
               ? NBD_ENOSPC
               : NBD_EINVAL;
}

/* What is in memory as a whole; a client can ask for a read again in parts, if it may be told. */
static uint32_t check_bound(const NbdRequest *request, const CommandRules *rule, char **message)
{
    bool can_tell =
        request->command == NBD_CMD_READ && request->session->mode >= NBD_MODE_STRUCTURED;

    if (!rule->bounded || request->length <= NBD_MAX_PAYLOAD) {
        return 0;
    }
    *message = g_strdup_printf("len (%" G_GUINT64_FORMAT ") is larger than max len (%u)",
                               request->length, NBD_MAX_PAYLOAD);
    return can_tell ? NBD_EOVERFLOW : NBD_EINVAL;
}

static uint32_t check_writable(const NbdRequest *request, const CommandRules *rule, char **message)
{
    if (rule->writes && !request->session->export->base.writable) {
        *message = g_strdup("Export is read-only");
        return NBD_EPERM;
    }
    return 0;
}

static uint32_t check_status(const NbdRequest *request, char **message)
{
    const char *wrong = NULL;

    if (request->session->contexts->len == 0) {
        wrong = "CMD_BLOCK_STATUS not negotiated";
    } else if (request->payload) {
        wrong = "CMD_BLOCK_STATUS payload not valid";
    } else if (request->length == 0) {
        wrong = "need non-zero length";
    }
    *message = g_strdup(wrong);
    return wrong ? NBD_EINVAL : 0;
}

uint32_t nbd_request_check(const NbdRequest *request, char **message)
{
    const CommandRules *rule;
    uint32_t error;

    if (request->command >= G_N_ELEMENTS(rules)) {
        *message = g_strdup_printf("invalid request type (%u) received", request->command);
        return NBD_EINVAL;
    }
    rule = &rules[request->command];
    error = check_flags(request, rule, message);
    if (!error && request->command == NBD_CMD_BLOCK_STATUS) {
        error = check_status(request, message);
    }
    if (!error) {
        error = check_writable(request, rule, message);
    }
    if (!error && rule->has_range) {
        error = check_range(request, rule, message);
    }
    return error ? error : check_bound(request, rule, message);
}

static uint32_t error_of_errno(int error)
{
    switch (error) {
    case EPERM:
    case EROFS:
        return NBD_EPERM;
    case EIO:
        return NBD_EIO;
    case ENOMEM:
        return NBD_ENOMEM;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return NBD_ENOSPC;
    case EOVERFLOW:
        return NBD_EOVERFLOW;
    case ENOTSUP:
        return NBD_ENOTSUP;
    case ESHUTDOWN:
        return NBD_ESHUTDOWN;
    default:
        return NBD_EINVAL;
    }
}

/* --- Reading --- */

static BlockChild *child_of(const NbdRequest *request)
{
    return request->session->export->base.child;
}

static int co_read_part(NbdRequest *request, uint64_t pos, uint64_t len)
{
    struct iovec iov = {.iov_base = (uint8_t *)request->buffer + pos, .iov_len = len};
    IoSlice data = io_slice(&iov, 1);

    return co_block_read(child_of(request), request->offset + pos, &data, 0);
}

static int co_read_whole(NbdRequest *request, bool may_be_hole)
{
    int ret = co_read_part(request, 0, request->length);

    if (ret < 0) {
        return ret;
    }
    if (may_be_hole && buffer_is_zero(request->buffer, request->length)) {
        nbd_reply_hole(request, request->offset, request->length);
    } else {
        nbd_reply_data(request, request->offset, request->buffer, request->length);
    }
    return 0;
}

/*
 * How many of the @len bytes at @offset are alike, a hole or not. What was found to be data is kept
 * in mind; should it turn into a hole, reading it as data is still right.
 */
static int co_find_run(NbdExport *export, int64_t offset, int64_t len, bool *hole, int64_t *run)
{
    BlockStatus status;
    int ret;

    if (offset >= export->data_start && offset < export->data_end) {
        *hole = false;
        *run = MIN(len, export->data_end - offset);
        return 0;
    }
    ret = co_block_status(export->base.child, true, offset,
                          MIN(MAX(len, DATA_LOOKAHEAD), export->size - offset), &status);
    if (ret < 0) {
        return ret;
    }
    *hole = status.flags & BLOCK_STATUS_ZERO;
    *run = status.bytes ? MIN(status.bytes, len) : len;
    if (!*hole) {
        export->data_start = offset;
        export->data_end = offset + status.bytes;
    }
    return 0;
}

/* Reads [pos, pos + run) and replies it; what failed there is told with its place. */
static void co_read_data_run(NbdRequest *request, uint64_t pos, uint64_t run, bool *failed)
{
    int ret = co_read_part(request, pos, run);
    uint64_t offset = request->offset + pos;

    if (ret < 0) {
        nbd_reply_error(request, error_of_errno(-ret),
                        g_strdup_printf("%s: %s", rules[NBD_CMD_READ].error, g_strerror(-ret)),
                        &offset);
        *failed = true;
        return;
    }
    nbd_reply_data(request, offset, (uint8_t *)request->buffer + pos, run);
}

/* One run after the other; adjacent ones of data are read in one. */
static int co_read_sparse(NbdRequest *request)
{
    NbdExport *export = request->session->export;
    uint64_t data_from = 0, pos = 0;
    bool failed = false;

    for (unsigned runs = 0; pos < request->length && !failed; runs++) {
        int64_t left = request->length - pos;
        int64_t run = left;
        bool hole = false;
        int ret =
            runs < MAX_RUNS ? co_find_run(export, request->offset + pos, left, &hole, &run) : 0;

        if (ret < 0) {
            hole = false; /* the read itself will tell */
            run = left;
        }
        if (hole && pos > data_from) {
            co_read_data_run(request, data_from, pos - data_from, &failed);
        }
        if (hole && !failed) {
            nbd_reply_hole(request, request->offset + pos, run);
            data_from = pos + run;
        }
        pos += run;
    }
    if (!failed && pos > data_from) {
        co_read_data_run(request, data_from, pos - data_from, &failed);
    }
    return 0;
}

static int co_read(NbdRequest *request)
{
    bool may_split =
        request->session->mode >= NBD_MODE_STRUCTURED && !(request->flags & NBD_CMD_FLAG_DF);

    if (request->length == 0) {
        return 0;
    }
    return may_split && request->length >= SPARSE_READ_MIN ? co_read_sparse(request)
                                                           : co_read_whole(request, may_split);
}

/* --- The other commands --- */

/* Writes of a write-through export, and those that ask for it, are on stable storage when done. */
static unsigned write_flags(const NbdRequest *request)
{
    bool fua = request->flags & NBD_CMD_FLAG_FUA || request->session->export->base.writethrough;

    return fua ? BLOCK_FUA : 0;
}

static int co_write(NbdRequest *request)
{
    if (request->length == 0) {
        return 0;
    }
    return co_block_write_buf(child_of(request), request->offset, request->buffer, request->length,
                              write_flags(request));
}

typedef int CoPieceFn(const NbdRequest *request, uint64_t offset, uint64_t length);

static bool is_cut(const NbdRequest *request)
{
    return request->offset / LONG_PIECE != (request->offset + request->length - 1) / LONG_PIECE;
}

/*
 * Goes on with a request piece by piece, cut at multiples of LONG_PIECE. SET_ASIDE when the graph
 * is to stand still: what is left is for later.
 */
static int co_in_pieces(NbdRequest *request, CoPieceFn *fn)
{
    const NbdSession *session = request->session;
    int ret = 0;

    while (request->done < request->length && ret == 0) {
        uint64_t offset = request->offset + request->done;
        uint64_t piece = MIN(LONG_PIECE - offset % LONG_PIECE, request->length - request->done);

        if (session->dead) {
            return -ESHUTDOWN;
        }
        if (session->export->base.quiesced) {
            return SET_ASIDE;
        }
        ret = fn(request, offset, piece);
        request->done += piece;
    }
    return ret;
}

static int co_zero_piece(const NbdRequest *request, uint64_t offset, uint64_t length)
{
    bool whole = length == request->length;
    unsigned flags = whole ? write_flags(request) : 0;

    if (!(request->flags & NBD_CMD_FLAG_NO_HOLE)) {
        flags |= BLOCK_MAY_UNMAP;
    }
    if (request->flags & NBD_CMD_FLAG_FAST_ZERO) {
        flags |= BLOCK_NO_FALLBACK;
    }
    return co_block_write_zeroes(child_of(request), offset, length, flags);
}

/* What is fast is done at once: once begun it should not be refused any more. */
static int co_write_zeroes(NbdRequest *request)
{
    int ret;

    if (request->length == 0) {
        return 0;
    }
    if (request->flags & NBD_CMD_FLAG_FAST_ZERO) {
        return co_zero_piece(request, request->offset, request->length);
    }
    ret = co_in_pieces(request, co_zero_piece);
    if (ret == 0 && is_cut(request) && write_flags(request) & BLOCK_FUA) {
        ret = co_block_flush(child_of(request));
    }
    return ret;
}

static int co_trim_piece(const NbdRequest *request, uint64_t offset, uint64_t length)
{
    return co_block_discard(child_of(request), offset, length);
}

static int co_trim(NbdRequest *request)
{
    int ret = co_in_pieces(request, co_trim_piece);

    if (ret == 0 && write_flags(request) & BLOCK_FUA) {
        ret = co_block_flush(child_of(request));
    }
    return ret;
}

/* Nobody needs the rest: it is a hint, and drain or a client that leaves is not to wait for it. */
static bool is_enough(const NbdRequest *request)
{
    return request->session->export->base.quiesced || request->session->ending;
}

/* Reads it, so that it is in whatever cache there is below. */
static int co_cache(NbdRequest *request)
{
    void *piece;
    int ret = 0;

    if (request->length == 0 || child_of(request)->node->options.cache_direct) {
        return 0;
    }
    piece = block_alloc(child_of(request)->node, MIN(request->length, CACHE_PIECE));
    if (!piece) {
        return -ENOMEM;
    }
    for (uint64_t pos = 0; pos < request->length && ret == 0 && !is_enough(request);
         pos += CACHE_PIECE) {
        ret = co_block_read_buf(child_of(request), request->offset + pos, piece,
                                MIN(CACHE_PIECE, request->length - pos));
    }
    free(piece);
    return ret;
}

/* Clients that have promised to read only what is dirty are held to it. */
static bool breaks_promise(const NbdRequest *request)
{
    const DirtyBitmap *bitmap = request->session->export->only_dirty;
    bool reads = request->command == NBD_CMD_READ || request->command == NBD_CMD_CACHE;
    int64_t end = request->offset + request->length, clean;

    return reads && bitmap &&
           (end > dirty_bitmap_size(bitmap) ||
            dirty_bitmap_next_clean(bitmap, request->offset, end, &clean));
}

static int co_execute(NbdRequest *request)
{
    switch ((NbdCommand)request->command) {
    case NBD_CMD_READ:
        return co_read(request);
    case NBD_CMD_WRITE:
        return co_write(request);
    case NBD_CMD_FLUSH:
        return co_block_flush(child_of(request));
    case NBD_CMD_TRIM:
        return co_trim(request);
    case NBD_CMD_CACHE:
        return co_cache(request);
    case NBD_CMD_WRITE_ZEROES:
        return co_write_zeroes(request);
    case NBD_CMD_BLOCK_STATUS:
        return co_nbd_block_status(request);
    case NBD_CMD_DISC:
        break;
    }
    g_assert_not_reached();
}

void co_nbd_request_execute(void *opaque)
{
    NbdRequest *request = opaque;
    NbdExport *export = request->session->export;
    bool refused = breaks_promise(request);
    int ret = refused ? 0 : co_execute(request);

    if (ret == SET_ASIDE) {
        nbd_request_set_aside(request);
        export_request_end(&export->base);
        return;
    }
    if (refused) {
        nbd_reply_error(request, NBD_EIO,
                        g_strdup_printf("bitmap '%s' does not call all of it dirty, and nothing "
                                        "else may be read",
                                        dirty_bitmap_name(export->only_dirty)),
                        NULL);
    } else if (ret < 0) {
        nbd_reply_error(request, error_of_errno(-ret),
                        g_strdup_printf("%s: %s", rules[request->command].error, g_strerror(-ret)),
                        NULL);
    }
    nbd_reply_send(request);
    export_request_end(&export->base);
}
