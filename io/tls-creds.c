/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Credentials of TLS: what both kinds share; see tls-creds.h. */
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
    g_free(creds->psk_path);
    g_free(creds->psk_user);
    g_free(creds->priority);
    g_free(creds);
}
