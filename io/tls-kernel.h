/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel TLS: what a TLS connection sends is put into records by Linux; private to io/.
 *
 * Sending only.  gnutls goes on receiving: a peer may change its keys at any record (in TLS 1.3
 * gnutls does after 2^24 of them), and Linux follows that from 6.14 on only.
 *
 * Our own keys are changed where the other side asks for it, and where a cipher wants it (RFC 8446
 * section 5.5: AES-GCM, after 2^24 records as in gnutls), if the kernel can.  If it cannot, the
 * first ends the connection, as there is no correct answer, and the second is left out: the bound
 * is a SHOULD, and what it keeps is a probability of 2^-57, which is 2^-54 for a terabyte.
 *
 * A kernel without it, a connection that is not TCP, a cipher that it does not have: all the same,
 * the caller encrypts by itself, and nothing has changed on the connection.
 */
#ifndef IO_TLS_KERNEL_H
#define IO_TLS_KERNEL_H

#include <gnutls/gnutls.h>

#include "io/socket.h"

typedef struct TlsKernel TlsKernel;

/*
 * From now on the kernel encrypts what is sent on @inner, with @session's keys.  All that gnutls
 * wrote must have been sent, and it must write no more, but what tls_kernel_swallows().  NULL where
 * the kernel does not.  Both must outlive it.
 */
TlsKernel *tls_kernel_start(Socket *inner, gnutls_session_t session);
void tls_kernel_free(TlsKernel *kernel); /* NULL is accepted */

/* As co_socket_send() and co_socket_send_some(). */
G_GNUC_WARN_UNUSED_RESULT int co_tls_kernel_send(TlsKernel *kernel, const IoSlice *data);
G_GNUC_WARN_UNUSED_RESULT ssize_t co_tls_kernel_send_some(TlsKernel *kernel, const IoSlice *data);

/* The other side wants us to use new keys (KeyUpdate with update_requested).  False: we cannot. */
bool tls_kernel_update(TlsKernel *kernel);

/* Whether what gnutls writes now is already said by the kernel, in a record of its own. */
bool tls_kernel_swallows(const TlsKernel *kernel);

/* Sends an alert, without waiting: 0 or -errno (-EAGAIN: no room). */
int tls_kernel_alert(TlsKernel *kernel, gnutls_alert_level_t level,
                     gnutls_alert_description_t what);

/*
 * Sends close_notify and waits until close() loses nothing: the kernel gives up records that TCP
 * has not taken.  0 or -errno.
 */
int co_tls_kernel_finish(TlsKernel *kernel);

#endif
