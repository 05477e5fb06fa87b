/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Credentials of TLS: what both kinds share, and pre-shared keys; see tls-creds.h. */
#include "io/tls-creds.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "io/tls-private.h"
#include "util/error.h"

/*
 * Keys of psktool's kind leave gnutls's "NORMAL" the choice of ChaCha20 and AES-128-GCM, in this
 * order; with the AES instructions that hosts have the second is many times faster.
 */
#define DEFAULT_PRIORITY "NORMAL:-CHACHA20-POLY1305:+CHACHA20-POLY1305:%SERVER_PRECEDENCE"

TlsCreds *tls_creds_new(const TlsCredsOptions *options)
{
    TlsCreds *creds = g_new0(TlsCreds, 1);

    creds->server = options->server;
    creds->verify_peer = options->verify_peer;
    creds->priority = g_strdup(options->priority ? options->priority : DEFAULT_PRIORITY);
    return creds;
}

bool tls_creds_path(const TlsCredsOptions *options, const char *name, bool required, char **path,
                    GError **errp)
{
    g_autofree char *full = NULL;
    struct stat st;

    *path = NULL;
    if (!options->dir) {
        return !required || tm_error_set(errp, "Missing 'dir' property value");
    }
    full = g_strdup_printf("%s/%s", options->dir, name);
    if (stat(full, &st) == 0) {
        *path = g_steal_pointer(&full);
        return true;
    }
    return (errno == ENOENT && !required) ||
           tm_error_set_errno(errp, errno, "Unable to access credentials %s", full);
}

bool tls_creds_load_dh(TlsCreds *creds, const TlsCredsOptions *options, GError **errp)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = NULL, *text = NULL;
    gnutls_datum_t data;
    gsize len;
    int ret;

    if (!tls_creds_path(options, "dh-params.pem", false, &path, errp)) {
        return false;
    }
    if (!path) {
        return true;
    }
    if (!g_file_get_contents(path, &text, &len, &error)) {
        return tm_error_set(errp, "%s", error->message);
    }
    data = (gnutls_datum_t){.data = (unsigned char *)text, .size = len};
    ret = gnutls_dh_params_init(&creds->dh);
    if (ret >= 0) {
        ret = gnutls_dh_params_import_pkcs3(creds->dh, &data, GNUTLS_X509_FMT_PEM);
    }
    return ret >= 0 || tm_error_set(errp, "Unable to load DH parameters from %s: %s", path,
                                    gnutls_strerror(ret));
}

/* --- pre-shared keys --- */

static bool load_server(TlsCreds *creds, const TlsCredsOptions *options, const char *path,
                        GError **errp)
{
    int ret = gnutls_psk_allocate_server_credentials(&creds->psk_server);

    if (ret < 0) {
        return tm_error_set(errp, "Cannot allocate credentials: %s", gnutls_strerror(ret));
    }
    if (!tls_creds_load_dh(creds, options, errp)) {
        return false;
    }
    gnutls_psk_set_server_credentials_file(creds->psk_server, path);
    if (creds->dh) {
        gnutls_psk_set_server_dh_params(creds->psk_server, creds->dh);
    }
    return true;
}

/* The key, in hex digits, of a line "username:key". */
static char *find_key(const char *path, const char *username, GError **errp)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    size_t len = strlen(username);

    if (!g_file_get_contents(path, &text, NULL, &error)) {
        tm_error_set(errp, "Cannot read PSK file %s: %s", path, error->message);
        return NULL;
    }
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        if (g_str_has_prefix(*line, username) && (*line)[len] == ':') {
            return g_strchomp(g_strdup(*line + len + 1));
        }
    }
    tm_error_set(errp, "Username %s not found in PSK file %s", username, path);
    return NULL;
}

static bool load_client(TlsCreds *creds, const TlsCredsOptions *options, const char *path,
                        GError **errp)
{
    const char *username = options->username ? options->username : "qemu";
    g_autofree char *key = find_key(path, username, errp);
    gnutls_datum_t data = {.data = (unsigned char *)key, .size = key ? strlen(key) : 0};
    int ret;

    if (!key) {
        return false;
    }
    ret = gnutls_psk_allocate_client_credentials(&creds->psk_client);
    if (ret >= 0) {
        ret = gnutls_psk_set_client_credentials(creds->psk_client, username, &data,
                                                GNUTLS_PSK_KEY_HEX);
    }
    return ret >= 0 || tm_error_set(errp, "Cannot use the key of %s in PSK file %s: %s", username,
                                    path, gnutls_strerror(ret));
}

TlsCreds *tls_creds_new_psk(const TlsCredsOptions *options, GError **errp)
{
    TlsCreds *creds = tls_creds_new(options);
    g_autofree char *path = NULL, *priority = g_steal_pointer(&creds->priority);
    bool ok;

    creds->priority = g_strconcat(priority, ":+ECDHE-PSK:+DHE-PSK:+PSK", NULL);
    if (options->server && options->username) {
        ok = tm_error_set(errp, "username should not be set when endpoint=server");
    } else {
        ok = tls_creds_path(options, "keys.psk", true, &path, errp) &&
             (options->server ? load_server : load_client)(creds, options, path, errp);
    }
    if (!ok) {
        g_clear_pointer(&creds, tls_creds_free);
    }
    return creds;
}

/* --- */

bool tls_creds_is_server(const TlsCreds *creds)
{
    return creds->server;
}

void tls_creds_free(TlsCreds *creds)
{
    if (!creds) {
        return;
    }
    g_clear_pointer(&creds->x509, gnutls_certificate_free_credentials);
    g_clear_pointer(&creds->psk_server, gnutls_psk_free_server_credentials);
    g_clear_pointer(&creds->psk_client, gnutls_psk_free_client_credentials);
    g_clear_pointer(&creds->dh, gnutls_dh_params_deinit);
    g_free(creds->priority);
    g_free(creds);
}
