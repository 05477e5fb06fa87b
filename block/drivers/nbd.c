/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nbd: the export of an NBD server, elsewhere or on this host.  See nbd.h for its parts. */
#include "block/drivers/nbd.h"
#include "block/control.h"
#include "block/drivers/drivers.h"
#include "util/error.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* The longest string of the NBD protocol. */
#define MAX_STRING 4096
/* The most that servers must take in one request if they do not say so. */
#define MAX_TRANSFER (32 << 20)

#define NS_PER_SECOND INT64_C(1000000000)

/* --- opening ------------------------------------------------------------------------------ */

static const char *export_of(const BlockdevOptionsNbd *o)
{
    return o->export ? o->export : "";
}

static bool check_options(const BlockdevOptionsNbd *o, GError **errp)
{
    if (strlen(export_of(o)) > MAX_STRING) {
        return tm_error_set(errp, "export name too long to send to server");
    }
    if (o->x_dirty_bitmap && strlen(o->x_dirty_bitmap) > MAX_STRING) {
        return tm_error_set(errp, "x-dirty-bitmap query too long to send to server");
    }
    /* There are no such objects yet: TLS comes with a later release. */
    if (o->tls_creds) {
        return tm_error_set(errp, "No TLS credentials with id '%s'", o->tls_creds);
    }
    if (o->tls_hostname) {
        return tm_error_set(errp, "tls-hostname is only valid with tls-creds");
    }
    return nbdc_dial_check(o->server, errp);
}

/* As a URI, where there is one for such options; a descriptor has none. */
static char *make_filename(const BlockdevOptionsNbd *o)
{
    const char *export = export_of(o);

    switch (o->server->type) {
    case SOCKET_ADDRESS_TYPE_UNIX:
        return g_strdup_printf("nbd+unix://%s%s?socket=%s", *export ? "/" : "", export,
                               o->server->u.q_unix.path);
    case SOCKET_ADDRESS_TYPE_INET:
        return g_strdup_printf("nbd://%s:%s%s%s", o->server->u.inet.host, o->server->u.inet.port,
                               *export ? "/" : "", export);
    case SOCKET_ADDRESS_TYPE_VSOCK:
        return g_strdup_printf("nbd+vsock://%s:%s%s%s", o->server->u.vsock.cid,
                               o->server->u.vsock.port, *export ? "/" : "", export);
    default:
        return g_strdup_printf("nbd:fd:%s%s%s", o->server->u.fd.str, *export ? ":exportname=" : "",
                               export);
    }
}

/* What the server does not let be written is read-only, if it may. */
static bool suit_server(BlockNode *node)
{
    const NbdcClient *c = node->state;

    node->options.read_only |= c->info.read_only && node->options.auto_read_only;
    return node->options.read_only || !c->info.read_only;
}

/* Does what was found suit the node's options?  The words are what QEMU's open makes of it. */
static bool check_export(BlockNode *node, const BlockdevOptionsNbd *o, GError **errp)
{
    NbdcClient *c = node->state;

    if (c->info.size < 0) {
        return tm_error_set_errno(errp, EFBIG, "Could not open image");
    }
    if (o->x_dirty_bitmap && !c->info.can_status) {
        return tm_error_set_errno(errp, EINVAL, "Could not open image");
    }
    if (!suit_server(node)) {
        return tm_error_set_errno(errp, EACCES, "Could not open image");
    }
    c->needs_write = !node->options.read_only;
    return true;
}

static bool nbdc_co_open(BlockNode *node, const BlockdevOptions *options, GError **errp)
{
    const BlockdevOptionsNbd *o = &options->u.nbd;
    NbdcClient *c = node->state;
    int64_t patience = o->has_open_timeout ? o->open_timeout * NS_PER_SECOND : 0;
    int64_t delay = o->has_reconnect_delay ? o->reconnect_delay * NS_PER_SECOND : 0;

    if (!check_options(o, errp)) {
        return false;
    }
    nbdc_client_init(c, o->server, export_of(o),
                     o->x_dirty_bitmap ? o->x_dirty_bitmap : LIBNBD_CONTEXT_BASE_ALLOCATION, delay);
    if (!co_nbdc_client_open(c, loop_now_ns() + patience, errp) || !check_export(node, o, errp)) {
        co_nbdc_client_clear(c);
        return false;
    }
    g_free(node->filename);
    node->filename = make_filename(o);
    return true;
}

static void nbdc_co_close(BlockNode *node)
{
    co_nbdc_client_clear(node->state);
}

static void nbdc_co_detach(BlockNode *node)
{
    co_nbdc_client_detach(node->state);
}

static void nbdc_co_attach(BlockNode *node)
{
    nbdc_client_attach(node->state);
}

/* --- properties --------------------------------------------------------------------------- */

static int64_t nbdc_co_get_size(BlockNode *node)
{
    const NbdcClient *c = node->state;

    return block_whole_sectors(c->info.size);
}

static bool is_power_of_two(int64_t value)
{
    return value > 0 && (value & (value - 1)) == 0;
}

/*
 * Where the server does not say its least block: one with base:allocation is new enough to take
 * bytes, others are asked for sectors (unless the export's size has a part of one).
 */
static int64_t min_block(const NbdcInfo *info)
{
    if (is_power_of_two(info->min_block) && info->min_block <= MAX_TRANSFER) {
        return info->min_block;
    }
    return info->can_status || info->size % BLOCK_SECTOR ? 1 : BLOCK_SECTOR;
}

static void nbdc_refresh_limits(BlockNode *node)
{
    const NbdcClient *c = node->state;
    BlockLimits *limits = &node->limits;
    int64_t min = min_block(&c->info);
    int64_t max = c->info.max_block > 0 ? MIN(c->info.max_block, MAX_TRANSFER) : MAX_TRANSFER;

    limits->request_alignment = min;
    limits->max_transfer = MAX(max / min * min, min);
    limits->max_write_zeroes = limits->max_transfer;
    limits->max_discard = INT_MAX / min * min;
    if (c->info.max_range > UINT32_MAX) { /* nobody asks for that who cannot do with it */
        limits->max_write_zeroes = limits->max_discard = c->info.max_range / min * min;
    }
    if (is_power_of_two(c->info.opt_block) && c->info.opt_block <= MAX_TRANSFER) {
        limits->opt_transfer = c->info.opt_block;
        limits->discard_alignment = MAX(min, c->info.opt_block);
    }
}

static int nbdc_co_truncate(BlockNode *node, int64_t size, bool exact, PreallocMode prealloc,
                            GError **errp)
{
    const NbdcClient *c = node->state;

    if (size != c->info.size && exact) {
        tm_error_set(errp, "Cannot resize NBD nodes");
        return -ENOTSUP;
    }
    if (size > c->info.size) {
        tm_error_set(errp, "Cannot grow NBD nodes");
        return -EINVAL;
    }
    return 0;
}

static const BlockImageOps image_ops = {
    .co_truncate = nbdc_co_truncate,
};

static const BlockLoopOps loop_ops = {
    .co_detach = nbdc_co_detach,
    .co_attach = nbdc_co_attach,
};

/* --- reopening: only the common options change ---------------------------------------------- */

static bool nbdc_co_prepare(BlockNode *node, const BlockdevOptions *given,
                            const BlockOptions *before, void **state, GError **errp)
{
    return suit_server(node) ||
           tm_error_set(errp, "Can't reopen read-only NBD mount as read/write");
}

static void nbdc_co_commit(BlockNode *node, void *state)
{
    NbdcClient *c = node->state;

    co_move(node->loop); /* where a new connection looks at it */
    c->needs_write = !node->options.read_only;
    co_move(control_loop());
}

static void nbdc_co_abort(BlockNode *node, void *state)
{
}

static const BlockReopenOps reopen_ops = {
    .co_prepare = nbdc_co_prepare,
    .co_commit = nbdc_co_commit,
    .co_abort = nbdc_co_abort,
};

const BlockDriver block_driver_nbd = {
    .reopen = &reopen_ops,
    .id = BLOCKDEV_DRIVER_NBD,
    .state_size = sizeof(NbdcClient),
    .is_protocol = true,
    .co_open = nbdc_co_open,
    .co_close = nbdc_co_close,
    .co_read = nbdc_co_read,
    .co_write = nbdc_co_write,
    .co_write_zeroes = nbdc_co_write_zeroes,
    .co_discard = nbdc_co_discard,
    .co_flush = nbdc_co_flush,
    .co_block_status = nbdc_co_block_status,
    .co_get_size = nbdc_co_get_size,
    .refresh_limits = nbdc_refresh_limits,
    .supports_write_flags = BLOCK_FUA,
    .supports_write_zeroes_flags = BLOCK_FUA | BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK,
    .image = &image_ops,
    .loop = &loop_ops,
};
