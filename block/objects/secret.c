/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Secrets; see secret.h. */
#include "block/objects/secret.h"

#include <gnutls/crypto.h>
#include <string.h>

#include "block/objects/user-object.h"
#include "util/error.h"

#define KEY_SIZE 32 /* AES-256 */
#define IV_SIZE 16
#define BLOCK_SIZE 16

/* With a zero byte behind it, so that it can be used as a text. */
struct Secret {
    uint8_t *data;
    gsize len;
};

static void secret_clear(Secret *bytes)
{
    if (bytes->data) {
        gnutls_memset(bytes->data, 0, bytes->len);
    }
    g_clear_pointer(&bytes->data, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Secret, secret_clear)

static bool load(const SecretProperties *options, Secret *bytes, GError **errp)
{
    g_autoptr(GError) error = NULL;

    if (options->file && options->data) {
        return tm_error_set(errp, "'file' and 'data' are mutually exclusive");
    }
    if (options->file) {
        return g_file_get_contents(options->file, (char **)&bytes->data, &bytes->len, &error) ||
               tm_error_set(errp, "Unable to read %s: %s", options->file, error->message);
    }
    if (!options->data) {
        return tm_error_set(errp, "Either 'file' or 'data' must be provided");
    }
    bytes->data = (uint8_t *)g_strdup(options->data);
    bytes->len = strlen(options->data);
    return true;
}

/* In place; what is left of the text behind it is wiped. */
static bool decode_base64(Secret *bytes, GError **errp)
{
    static const char valid[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789+/=\n";
    char *text = (char *)bytes->data;
    gsize text_len = bytes->len;

    if (memchr(text, 0, bytes->len)) {
        return tm_error_set(errp, "Base64 data contains embedded NUL characters");
    }
    if (strspn(text, valid) != bytes->len) {
        return tm_error_set(errp, "Base64 data contains invalid characters");
    }
    if (bytes->len) {
        g_base64_decode_inplace(text, &bytes->len);
    }
    gnutls_memset(text + bytes->len, 0, text_len + 1 - bytes->len);
    return true;
}

static const Secret *find(const char *id, GError **errp)
{
    const UserObject *object = user_object_find(id);

    if (!object) {
        tm_error_set(errp, "No secret with id '%s'", id);
        return NULL;
    }
    if (object->type != OBJECT_TYPE_SECRET) {
        tm_error_set(errp, "Object with id '%s' is not a secret", id);
        return NULL;
    }
    return object->state;
}

static bool get_iv(const char *text, Secret *iv, GError **errp)
{
    if (!text) {
        return tm_error_set(errp, "IV is required to decrypt secret");
    }
    *iv = (Secret){.data = (uint8_t *)g_strdup(text), .len = strlen(text)};
    if (!decode_base64(iv, errp)) {
        return false;
    }
    return iv->len == IV_SIZE ||
           tm_error_set(errp, "IV should be %d bytes in length not %zu", IV_SIZE, iv->len);
}

static bool run_cipher(Secret *bytes, const void *key, const Secret *iv, GError **errp)
{
    gnutls_datum_t k = {.data = (void *)key, .size = KEY_SIZE};
    gnutls_datum_t v = {.data = iv->data, .size = IV_SIZE};
    gnutls_cipher_hd_t cipher;
    int ret = gnutls_cipher_init(&cipher, GNUTLS_CIPHER_AES_256_CBC, &k, &v);

    if (ret >= 0) {
        ret = gnutls_cipher_decrypt(cipher, bytes->data, bytes->len);
        gnutls_cipher_deinit(cipher);
    }
    return ret >= 0 || tm_error_set(errp, "Cannot decrypt secret: %s", gnutls_strerror(ret));
}

/* The last byte says how many of the last block are padding. */
static bool cut_padding(Secret *bytes, GError **errp)
{
    unsigned padding = bytes->data[bytes->len - 1];

    if (padding == 0 || padding > BLOCK_SIZE) {
        return tm_error_set(errp,
                            "Incorrect number of padding bytes (%u) found on decrypted data",
                            padding);
    }
    bytes->len -= padding;
    bytes->data[bytes->len] = 0;
    return true;
}

static bool decrypt(const SecretProperties *options, Secret *bytes, GError **errp)
{
    const Secret *key = find(options->keyid, errp);
    g_auto(Secret) iv = {0};

    if (!key) {
        return false;
    }
    if (key->len != KEY_SIZE) {
        return tm_error_set(errp, "Key should be %d bytes in length", KEY_SIZE);
    }
    if (!get_iv(options->iv, &iv, errp)) {
        return false;
    }
    if (options->format == Q_CRYPTO_SECRET_FORMAT_BASE64 && !decode_base64(bytes, errp)) {
        return false;
    }
    if (bytes->len == 0 || bytes->len % BLOCK_SIZE) {
        return tm_error_set(errp, "Length %zu must be a multiple of block size %d", bytes->len,
                            BLOCK_SIZE);
    }
    return run_cipher(bytes, key->data, &iv, errp) &&
           cut_padding(bytes, errp);
}

Secret *secret_new(const SecretProperties *options, GError **errp)
{
    Secret *secret = g_new0(Secret, 1);
    bool ok = load(options, secret, errp);

    if (ok && options->keyid) {
        ok = decrypt(options, secret, errp);
    } else if (ok && options->format == Q_CRYPTO_SECRET_FORMAT_BASE64) {
        ok = decode_base64(secret, errp);
    }
    if (!ok) {
        g_clear_pointer(&secret, secret_free);
    }
    return secret;
}

void secret_free(void *opaque)
{
    Secret *secret = opaque;

    secret_clear(secret);
    g_free(secret);
}

const char *secret_find_text(const char *id, GError **errp)
{
    const Secret *secret = find(id, errp);

    if (!secret) {
        return NULL;
    }
    if (!g_utf8_validate((char *)secret->data, (gssize)secret->len, NULL)) {
        tm_error_set(errp, "Data from secret %s is not valid UTF-8", id);
        return NULL;
    }
    return (char *)secret->data;
}
