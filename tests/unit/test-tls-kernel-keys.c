/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How Linux wants the keys of a TLS connection: each byte of gnutls's is where it belongs. */
#include <glib.h>
#include <string.h>

#include "io/tls-kernel-keys.h"

static const uint8_t key_bytes[32] = {1, 2, 3, 4, 5, 6, 7, 8}, iv_bytes[12] = {
    21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32,
};

static const uint8_t sequence[8] = {41, 42, 43, 44, 45, 46, 47, 48};

static bool pack(gnutls_protocol_t version, gnutls_cipher_algorithm_t cipher, unsigned key_len,
                 unsigned iv_len, TlsKernelKeys *packed)
{
    TlsKeys keys = {
        .version = version,
        .cipher = cipher,
        .key = {(unsigned char *)key_bytes, key_len},
        .iv = {(unsigned char *)iv_bytes, iv_len},
    };

    memcpy(keys.sequence, sequence, sizeof(sequence));
    return tls_kernel_keys_pack(&keys, packed);
}

static void test_gcm_keys(void)
{
    TlsKernelKeys packed;

    g_assert_true(pack(GNUTLS_TLS1_2, GNUTLS_CIPHER_AES_128_GCM, 16, 4, &packed));
    g_assert_cmpuint(packed.len, ==, sizeof(packed.aes_128));
    g_assert_cmphex(packed.info.version, ==, 0x303);
    g_assert_cmpuint(packed.info.cipher_type, ==, TLS_CIPHER_AES_GCM_128);
    g_assert_cmpmem(packed.aes_128.salt, 4, iv_bytes, 4);
    g_assert_cmpmem(packed.aes_128.iv, 8, sequence, 8);
    g_assert_cmpmem(packed.aes_128.rec_seq, 8, sequence, 8);
    g_assert_cmpmem(packed.aes_128.key, 16, key_bytes, 16);

    g_assert_true(pack(GNUTLS_TLS1_3, GNUTLS_CIPHER_AES_256_GCM, 32, 12, &packed));
    g_assert_cmpuint(packed.len, ==, sizeof(packed.aes_256));
    g_assert_cmphex(packed.info.version, ==, 0x304);
    g_assert_cmpuint(packed.info.cipher_type, ==, TLS_CIPHER_AES_GCM_256);
    g_assert_cmpmem(packed.aes_256.salt, 4, iv_bytes, 4);
    g_assert_cmpmem(packed.aes_256.iv, 8, iv_bytes + 4, 8);
    g_assert_cmpmem(packed.aes_256.rec_seq, 8, sequence, 8);
    g_assert_cmpmem(packed.aes_256.key, 32, key_bytes, 32);
}

static void test_chacha20_keys(void)
{
    static const gnutls_protocol_t versions[] = {GNUTLS_TLS1_2, GNUTLS_TLS1_3};

    for (unsigned i = 0; i < G_N_ELEMENTS(versions); i++) {
        TlsKernelKeys packed;

        g_assert_true(pack(versions[i], GNUTLS_CIPHER_CHACHA20_POLY1305, 32, 12, &packed));
        g_assert_cmpuint(packed.len, ==, sizeof(packed.chacha20));
        g_assert_cmpuint(packed.info.cipher_type, ==, TLS_CIPHER_CHACHA20_POLY1305);
        g_assert_cmpmem(packed.chacha20.iv, 12, iv_bytes, 12);
        g_assert_cmpmem(packed.chacha20.rec_seq, 8, sequence, 8);
        g_assert_cmpmem(packed.chacha20.key, 32, key_bytes, 32);
    }
}

static void test_no_keys(void)
{
    TlsKernelKeys packed;

    g_assert_false(pack(GNUTLS_TLS1_1, GNUTLS_CIPHER_AES_128_GCM, 16, 4, &packed));
    g_assert_false(pack(GNUTLS_TLS1_2, GNUTLS_CIPHER_AES_128_CCM, 16, 4, &packed));
    g_assert_false(pack(GNUTLS_TLS1_2, GNUTLS_CIPHER_AES_128_CBC, 16, 16, &packed));
    g_assert_false(pack(GNUTLS_TLS1_2, GNUTLS_CIPHER_AES_128_GCM, 16, 12, &packed));
    g_assert_false(pack(GNUTLS_TLS1_3, GNUTLS_CIPHER_AES_128_GCM, 16, 4, &packed));
    g_assert_false(pack(GNUTLS_TLS1_3, GNUTLS_CIPHER_AES_256_GCM, 16, 12, &packed));
    g_assert_false(pack(GNUTLS_TLS1_3, GNUTLS_CIPHER_CHACHA20_POLY1305, 32, 8, &packed));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tls-kernel-keys/gcm", test_gcm_keys);
    g_test_add_func("/tls-kernel-keys/chacha20", test_chacha20_keys);
    g_test_add_func("/tls-kernel-keys/none", test_no_keys);
    return g_test_run();
}
