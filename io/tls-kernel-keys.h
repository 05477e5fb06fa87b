/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keys of a TLS connection as Linux takes them for its own TLS (setsockopt() TLS_TX; see
 * Documentation/networking/tls.rst of the kernel); private to io/.
 */
#ifndef IO_TLS_KERNEL_KEYS_H
#define IO_TLS_KERNEL_KEYS_H

#include <gnutls/gnutls.h>
#include <linux/tls.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

/* What one side writes its next record with, as gnutls_record_get_state() tells it. */
typedef struct TlsKeys {
    gnutls_protocol_t version;
    gnutls_cipher_algorithm_t cipher;
    gnutls_datum_t key, iv; /* of 1.2 with GCM, 4 bytes of iv; else 12 */
    uint8_t sequence[8];    /* big endian: the number of the next record */
} TlsKeys;

typedef struct TlsKernelKeys {
    union {
        struct tls_crypto_info info;
        struct tls12_crypto_info_aes_gcm_128 aes_128;
        struct tls12_crypto_info_aes_gcm_256 aes_256;
        struct tls12_crypto_info_chacha20_poly1305 chacha20;
    };
    socklen_t len;
} TlsKernelKeys;

/* False where it is no version or cipher that both can do; @packed is to be wiped then, too. */
bool tls_kernel_keys_pack(const TlsKeys *keys, TlsKernelKeys *packed);

/* TLS_TX of the connection @fd, with what @session would write with next: 0 or -errno. */
int tls_kernel_keys_set(int fd, gnutls_session_t session);

#endif
