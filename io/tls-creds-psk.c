/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Credentials of TLS: pre-shared keys; see tls-creds.h. */
#include "io/tls-creds.h"

#include <string.h>

#include "io/tls-private.h"
#include "util/error.h"

/* --- keys.psk: lines "username:key in hex digits" --- */

/* psktool writes a name that holds odd characters in hex digits, behind '#'. */
static bool is_name(const char *text, size_t len, const gnutls_datum_t *name)
{
    gnutls_datum_t hex, plain;
    bool same;

    if (len == 0 || text[0] != '#') {
        return len && len == name->size && memcmp(text, name->data, len) == 0;
    }
    hex = (gnutls_datum_t){.data = (unsigned char *)text + 1, .size = len - 1};
    if (gnutls_hex_decode2(&hex, &plain) < 0) {
        return false;
    }
    same =
        plain.size && plain.size == name->size && memcmp(plain.data, name->data, plain.size) == 0;
    gnutls_free(plain.data);
    return same;
}

/* In hex digits; nothing of it stays in memory. */
typedef char PskKey;

static void psk_key_free(PskKey *key)
{
    gnutls_memset(key, 0, strlen(key));
    g_free(key);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(PskKey, psk_key_free)

/* NULL where there is no such user. */
static PskKey *key_in(const char *text, const gnutls_datum_t *user)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        const char *colon = memchr(text, ':', len), *end = text + len;

        if (colon && is_name(text, (size_t)(colon - text), user)) {
            return g_strchomp(g_strndup(colon + 1, (gsize)(end - colon - 1)));
        }
        text = *end ? end + 1 : end;
    }
    return NULL;
}

/* The user's key, *key NULL where there is no such user.  False: no file. */
static bool find_key(const char *path, const gnutls_datum_t *user, PskKey **key, GError **errp)
{
    g_autoptr(GError) error = NULL;
    char *text;
    gsize len;

    *key = NULL;
    if (!g_file_get_contents(path, &text, &len, &error)) {
        return tm_error_set(errp, "Cannot read PSK file %s: %s", path, error->message);
    }
    *key = key_in(text, user);
    gnutls_memset(text, 0, len);
    g_free(text);
    return true;
}

/* --- a server --- */

/* What a client says to be goes into messages. */
static char *printable(const gnutls_datum_t *name)
{
    g_autofree char *text = g_strndup((const char *)name->data, MIN(name->size, 100));

    return g_strescape(text ? text : "", NULL); /* it may be empty */
}

/*
 * For gnutls, in the handshake.  1: it goes on with a key at random, so that a client cannot tell
 * which users there are.
 */
static int give_key(gnutls_session_t session, const gnutls_datum_t *name, gnutls_datum_t *key)
{
    TlsPskClient *client = gnutls_session_get_ptr(session);
    g_autofree char *user = printable(name);
    g_autoptr(PskKey) hex = NULL;
    g_autoptr(GError) error = NULL;
    gnutls_datum_t digits;

    g_clear_pointer(&client->fault, g_free);
    if (!find_key(client->path, name, &hex, &error)) {
        client->fault = g_strdup(error->message);
        return -1;
    }
    if (!hex) {
        client->fault = g_strdup_printf("user '%s' is not in %s", user, client->path);
        return 1;
    }
    digits = (gnutls_datum_t){.data = (unsigned char *)hex, .size = strlen(hex)};
    if (!digits.size || gnutls_hex_decode2(&digits, key) < 0) {
        client->fault =
            g_strdup_printf("the key of user '%s' in %s is not in hex digits", user, client->path);
        return -1;
    }
    client->fault = g_strdup_printf("user '%s' has another key than %s", user, client->path);
    return 0;
}

static bool load_server(TlsCreds *creds, const TlsCredsOptions *options, GError **errp)
{
    int ret = gnutls_psk_allocate_server_credentials(&creds->psk_server);

    if (ret < 0) {
        return tm_error_set(errp, "Cannot allocate credentials: %s", gnutls_strerror(ret));
    }
    if (!tls_creds_load_dh(creds, options, errp)) {
        return false;
    }
    gnutls_psk_set_server_credentials_function2(creds->psk_server, give_key);
    if (creds->dh) {
        gnutls_psk_set_server_dh_params(creds->psk_server, creds->dh);
    }
    return true;
}

/* --- a client --- */

static bool load_client(TlsCreds *creds, const TlsCredsOptions *options, GError **errp)
{
    const char *user = options->username ? options->username : "qemu";
    gnutls_datum_t name = {.data = (unsigned char *)user, .size = strlen(user)}, digits;
    g_autoptr(PskKey) hex = NULL;
    int ret;

    if (!find_key(creds->psk_path, &name, &hex, errp)) {
        return false;
    }
    if (!hex) {
        return tm_error_set(errp, "Username %s not found in PSK file %s", user, creds->psk_path);
    }
    creds->psk_user = g_strdup(user);
    digits = (gnutls_datum_t){.data = (unsigned char *)hex, .size = strlen(hex)};
    ret = gnutls_psk_allocate_client_credentials(&creds->psk_client);
    if (ret >= 0) {
        ret =
            gnutls_psk_set_client_credentials(creds->psk_client, user, &digits, GNUTLS_PSK_KEY_HEX);
    }
    return ret >= 0 || tm_error_set(errp, "Cannot use the key of %s in PSK file %s: %s", user,
                                    creds->psk_path, gnutls_strerror(ret));
}

/* --- both --- */

TlsCreds *tls_creds_new_psk(const TlsCredsOptions *options, GError **errp)
{
    TlsCreds *creds = tls_creds_new(options);
    g_autofree char *priority = g_steal_pointer(&creds->priority);
    bool ok;

    creds->priority = g_strconcat(priority, ":+ECDHE-PSK:+DHE-PSK:+PSK", NULL);
    if (options->server && options->username) {
        ok = tm_error_set(errp, "username should not be set when endpoint=server");
    } else {
        ok = tls_creds_path(options, "keys.psk", true, &creds->psk_path, errp) &&
             (options->server ? load_server : load_client)(creds, options, errp);
    }
    if (!ok) {
        g_clear_pointer(&creds, tls_creds_free);
    }
    return creds;
}
