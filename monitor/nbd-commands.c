/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The QMP commands of the NBD server. */
#include "block/control.h"
#include "block/export.h"
#include "nbd-export/server-options.h"
#include "nbd-export/server.h"
#include "qmp-schema/qmp-commands.h"
#include "util/error.h"

/* The old form of an address differs only in a level of nesting. The result borrows. */
static SocketAddress flat_address(const SocketAddressLegacy *legacy)
{
    SocketAddress address = {.type = legacy->type};

    switch (legacy->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        address.u.inet = *legacy->u.inet.data;
        break;
    case SOCKET_ADDRESS_TYPE_UNIX:
        address.u.q_unix = *legacy->u.q_unix.data;
        break;
    case SOCKET_ADDRESS_TYPE_VSOCK:
        address.u.vsock = *legacy->u.vsock.data;
        break;
    case SOCKET_ADDRESS_TYPE_FD:
        address.u.fd = *legacy->u.fd.data;
        break;
    default:
        break;
    }
    return address;
}

bool qmp_nbd_server_start(const NbdServerOptionsLegacy *args, GError **errp)
{
    SocketAddress address = flat_address(args->addr);
    NbdServerOptions options = {
        .has_handshake_max_seconds = args->has_handshake_max_seconds,
        .handshake_max_seconds = args->handshake_max_seconds,
        .tls_creds = args->tls_creds,
        .tls_authz = args->tls_authz,
        .has_max_connections = args->has_max_connections,
        .max_connections = args->max_connections,
        .addr = &address,
    };

    return co_nbd_server_start_options(&options, errp);
}

bool qmp_nbd_server_stop(GError **errp)
{
    return co_nbd_server_stop(errp);
}

static bool co_add_export(const NbdServerAddOptions *args, BlockExportOptions *options,
                          GError **errp)
{
    BlockNode *node = block_node_find(args->device);

    if (!node) {
        return tm_error_set(errp, "Cannot find device='%s' nor node-name='%s'", args->device,
                            args->device);
    }
    /* Unlike block-export-add this command does not mind that a node is read-only. */
    options->writable &= !node->options.read_only;
    return co_export_add(options, NULL, errp) != NULL;
}

bool qmp_nbd_server_add(const NbdServerAddOptions *args, GError **errp)
{
    char *name = args->name ? args->name : args->device;
    BlockDirtyBitmapOrStr bitmap = {
        .kind = BLOCK_DIRTY_BITMAP_OR_STR_KIND_LOCAL,
        .u.local = args->bitmap,
    };
    g_autoptr(GPtrArray) bitmaps = g_ptr_array_new();
    BlockExportOptions options = {
        .type = BLOCK_EXPORT_TYPE_NBD,
        .id = name,
        .node_name = args->device,
        .has_writable = true,
        .writable = args->has_writable && args->writable,
        .u.nbd = {.name = name, .description = args->description, .bitmaps = bitmaps},
    };
    bool ok;

    if (args->bitmap) {
        g_ptr_array_add(bitmaps, &bitmap);
    }
    co_control_lock();
    ok = co_add_export(args, &options, errp);
    control_unlock();
    return ok;
}

bool qmp_nbd_server_remove(const NbdServerRemoveArgs *args, GError **errp)
{
    BlockExportDelArgs del = {.id = args->name, .has_mode = args->has_mode, .mode = args->mode};
    const Export *export = export_find(args->name);

    if (export && export->driver->type != BLOCK_EXPORT_TYPE_NBD) {
        return tm_error_set(errp, "Block export '%s' is not an NBD export", args->name);
    }
    return qmp_block_export_del(&del, errp);
}
