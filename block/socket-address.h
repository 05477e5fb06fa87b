/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From QMP's SocketAddress to what io/socket.h takes. */
#ifndef BLOCK_SOCKET_ADDRESS_H
#define BLOCK_SOCKET_ADDRESS_H

#include "io/socket.h"
#include "qmp-schema/qmp-types.h"

/*
 * Fills in *addr, whose texts are those of @address (not copied).  What no socket of ours can do is
 * an error that names @what ("the NBD server").
 */
bool socket_address_translate(const SocketAddress *address, const char *what, SocketAddr *addr,
                              GError **errp);

#endif
