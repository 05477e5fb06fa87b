/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Credentials of TLS: certificates; see tls-creds.h. */
#include "io/tls-creds.h"

#include "io/tls-private.h"
#include "util/error.h"

typedef struct Paths {
    char *ca, *crl, *cert, *key; /* those that are not there are NULL */
} Paths;

/* A server needs them all but the list of revoked ones, a client only the authority's. */
static bool find_files(const TlsCredsOptions *options, Paths *paths, GError **errp)
{
    const char *cert = options->server ? "server-cert.pem" : "client-cert.pem";
    const char *key = options->server ? "server-key.pem" : "client-key.pem";

    return tls_creds_path(options, "ca-cert.pem", true, &paths->ca, errp) &&
           (!options->server ||
            tls_creds_path(options, "ca-crl.pem", false, &paths->crl, errp)) &&
           tls_creds_path(options, cert, options->server, &paths->cert, errp) &&
           tls_creds_path(options, key, options->server, &paths->key, errp);
}

static bool load_ca(gnutls_certificate_credentials_t x509, const Paths *paths, GError **errp)
{
    int ret = gnutls_certificate_set_x509_trust_file(x509, paths->ca, GNUTLS_X509_FMT_PEM);

    return ret >= 0 || tm_error_set(errp, "Cannot load CA certificate '%s': %s", paths->ca,
                                    gnutls_strerror(ret));
}

static bool load_own(gnutls_certificate_credentials_t x509, const Paths *paths,
                     const char *password, GError **errp)
{
    int ret;

    if (!paths->cert || !paths->key) {
        return true;
    }
    ret = gnutls_certificate_set_x509_key_file2(x509, paths->cert, paths->key,
                                                GNUTLS_X509_FMT_PEM, password, 0);
    return ret >= 0 || tm_error_set(errp, "Cannot load certificate '%s' & key '%s': %s",
                                    paths->cert, paths->key, gnutls_strerror(ret));
}

static bool load_crl(gnutls_certificate_credentials_t x509, const Paths *paths, GError **errp)
{
    int ret;

    if (!paths->crl) {
        return true;
    }
    ret = gnutls_certificate_set_x509_crl_file(x509, paths->crl, GNUTLS_X509_FMT_PEM);
    return ret >= 0 ||
           tm_error_set(errp, "Cannot load CRL '%s': %s", paths->crl, gnutls_strerror(ret));
}

static bool load(TlsCreds *creds, const TlsCredsOptions *options, const Paths *paths,
                 GError **errp)
{
    int ret = gnutls_certificate_allocate_credentials(&creds->x509);

    if (ret < 0) {
        return tm_error_set(errp, "Cannot allocate credentials: '%s'", gnutls_strerror(ret));
    }
    if (!load_ca(creds->x509, paths, errp) ||
        !load_own(creds->x509, paths, options->password, errp) ||
        !load_crl(creds->x509, paths, errp)) {
        return false;
    }
    if (options->server && !tls_creds_load_dh(creds, options, errp)) {
        return false;
    }
    if (creds->dh) {
        gnutls_certificate_set_dh_params(creds->x509, creds->dh);
    }
    return true;
}

TlsCreds *tls_creds_new_x509(const TlsCredsOptions *options, GError **errp)
{
    TlsCreds *creds = tls_creds_new(options);
    Paths paths = {0};

    if (!find_files(options, &paths, errp) ||
        (options->sanity_check && !tls_check_own(options->server, paths.ca, paths.cert, errp)) ||
        !load(creds, options, &paths, errp)) {
        g_clear_pointer(&creds, tls_creds_free);
    }
    g_free(paths.ca);
    g_free(paths.crl);
    g_free(paths.cert);
    g_free(paths.key);
    return creds;
}
