/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TLS as a socket that wraps another.
 *
 * gnutls reads from and writes to two buffers of fixed size here, and never waits itself; so a
 * session can move between loops like any other.  Where the kernel offers it, the kernel makes the
 * records that are sent, from the end of the handshake on (tls-kernel.h).
 *
 * More than a Socket promises: where co_socket_send_some() returns -EINTR, the next one must begin
 * with the same bytes; some of them may have been encrypted already.
 */
#ifndef IO_TLS_SOCKET_H
#define IO_TLS_SOCKET_H

#include "io/socket.h"
#include "io/tls-creds.h"

/*
 * Makes TLS of the connection *socket, as the side that @creds are for: does the handshake (its
 * arithmetic in the worker pool), checks what the other side has shown, and replaces *socket by
 * one that encrypts and owns the old one.  False with @errp set, and *socket as it was and to be
 * closed, where that fails or has not ended at @deadline_ns (loop_now_ns()'s clock; INT64_MAX:
 * never).
 * @hostname: what a server's certificate must be for; NULL for the server's side.
 */
bool co_tls_start(Socket **socket, const TlsCreds *creds, const char *hostname,
                  int64_t deadline_ns, GError **errp);

/*
 * The distinguished name of the other side's verified certificate ("O=…,CN=…", as QEMU has it);
 * NULL where none was asked for.
 */
const char *tls_socket_peer_name(const Socket *socket);

/*
 * Why a server may end the connection now that the handshake is over: with TLS 1.3 it looks at the
 * client's certificate when the client is done.  For messages, static; NULL where it wanted none.
 */
const char *tls_socket_doubt(const Socket *socket);

#endif
