/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From QMP's SocketAddress to what io/socket.h takes. */
#ifndef BLOCK_SOCKET_ADDRESS_H
#define BLOCK_SOCKET_ADDRESS_H

#include "io/socket.h"
#include "qmp-schema/qmp-types.h"

/*
 * Fills in *addr, whose texts are those of @address (not copied).  A descriptor must be one that
 * the daemon has inherited, by number or by the name that systemd gave it, and does not use yet.
 */
bool socket_address_translate(const SocketAddress *address, SocketAddr *addr, GError **errp);

#endif
