/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The keys of a TLS connection as Linux takes them; see tls-kernel-keys.h. */
#include "io/tls-kernel-keys.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>

/* Both kinds of AES-GCM split the nonce of 12 bytes alike. */
#define SALT TLS_CIPHER_AES_GCM_128_SALT_SIZE
#define NONCE (SALT + TLS_CIPHER_AES_GCM_128_IV_SIZE)

/*
 * TLS 1.3 has a secret nonce of 12 bytes, with which the number of the record is mixed.  In 1.2
 * (RFC 5288) 4 bytes are secret and 8 go with the record, never the same ones twice: gnutls takes
 * the number of the record, so the kernel is to go on from there.
 */
static bool pack_gcm(const TlsKeys *keys, uint8_t *salt, uint8_t *iv)
{
    bool is_1_2 = keys->version == GNUTLS_TLS1_2;

    if (keys->iv.size != (is_1_2 ? SALT : NONCE)) {
        return false;
    }
    memcpy(salt, keys->iv.data, SALT);
    memcpy(iv, is_1_2 ? keys->sequence : keys->iv.data + SALT, NONCE - SALT);
    return true;
}

static bool pack_aes_128(const TlsKeys *keys, TlsKernelKeys *packed)
{
    struct tls12_crypto_info_aes_gcm_128 *aes = &packed->aes_128;

    if (keys->key.size != sizeof(aes->key) || !pack_gcm(keys, aes->salt, aes->iv)) {
        return false;
    }
    aes->info.cipher_type = TLS_CIPHER_AES_GCM_128;
    memcpy(aes->key, keys->key.data, sizeof(aes->key));
    memcpy(aes->rec_seq, keys->sequence, sizeof(aes->rec_seq));
    packed->len = sizeof(*aes);
    return true;
}

static bool pack_aes_256(const TlsKeys *keys, TlsKernelKeys *packed)
{
    struct tls12_crypto_info_aes_gcm_256 *aes = &packed->aes_256;

    if (keys->key.size != sizeof(aes->key) || !pack_gcm(keys, aes->salt, aes->iv)) {
        return false;
    }
    aes->info.cipher_type = TLS_CIPHER_AES_GCM_256;
    memcpy(aes->key, keys->key.data, sizeof(aes->key));
    memcpy(aes->rec_seq, keys->sequence, sizeof(aes->rec_seq));
    packed->len = sizeof(*aes);
    return true;
}

/* The same in 1.2 (RFC 7905) and 1.3. */
static bool pack_chacha20(const TlsKeys *keys, TlsKernelKeys *packed)
{
    struct tls12_crypto_info_chacha20_poly1305 *chacha20 = &packed->chacha20;

    if (keys->key.size != sizeof(chacha20->key) || keys->iv.size != sizeof(chacha20->iv)) {
        return false;
    }
    chacha20->info.cipher_type = TLS_CIPHER_CHACHA20_POLY1305;
    memcpy(chacha20->iv, keys->iv.data, sizeof(chacha20->iv));
    memcpy(chacha20->key, keys->key.data, sizeof(chacha20->key));
    memcpy(chacha20->rec_seq, keys->sequence, sizeof(chacha20->rec_seq));
    packed->len = sizeof(*chacha20);
    return true;
}

bool tls_kernel_keys_pack(const TlsKeys *keys, TlsKernelKeys *packed)
{
    memset(packed, 0, sizeof(*packed));
    if (keys->version != GNUTLS_TLS1_2 && keys->version != GNUTLS_TLS1_3) {
        return false;
    }
    packed->info.version = keys->version == GNUTLS_TLS1_2 ? TLS_1_2_VERSION : TLS_1_3_VERSION;
    switch (keys->cipher) {
    case GNUTLS_CIPHER_AES_128_GCM:
        return pack_aes_128(keys, packed);
    case GNUTLS_CIPHER_AES_256_GCM:
        return pack_aes_256(keys, packed);
    case GNUTLS_CIPHER_CHACHA20_POLY1305:
        return pack_chacha20(keys, packed);
    default:
        return false;
    }
}

int tls_kernel_keys_set(int fd, gnutls_session_t session)
{
    TlsKeys keys = {
        .version = gnutls_protocol_get_version(session),
        .cipher = gnutls_cipher_get(session),
    };
    TlsKernelKeys packed;
    gnutls_datum_t mac;
    int ret = -EOPNOTSUPP;

    if (gnutls_record_get_state(session, 0, &mac, &keys.iv, &keys.key, keys.sequence) < 0) {
        return ret;
    }
    if (tls_kernel_keys_pack(&keys, &packed)) {
        ret = setsockopt(fd, SOL_TLS, TLS_TX, &packed, packed.len) < 0 ? -errno : 0;
    }
    gnutls_memset(&packed, 0, sizeof(packed));
    return ret;
}
