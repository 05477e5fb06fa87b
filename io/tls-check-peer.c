/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The certificate that the other side has shown in the handshake. */
#include <gnutls/x509.h>
#include <time.h>

#include "io/tls-private.h"
#include "util/error.h"

const char *tls_cert_fault(unsigned status)
{
    if (status & GNUTLS_CERT_INSECURE_ALGORITHM) {
        return "The certificate uses an insecure algorithm";
    }
    if (status & GNUTLS_CERT_REVOKED) {
        return "The certificate has been revoked";
    }
    if (status & GNUTLS_CERT_SIGNER_NOT_FOUND) {
        return "The certificate hasn't got a known issuer";
    }
    if (status & GNUTLS_CERT_EXPIRED) {
        return "The certificate has expired";
    }
    if (status & GNUTLS_CERT_NOT_ACTIVATED) {
        return "The certificate is not yet activated";
    }
    return status & GNUTLS_CERT_INVALID ? "The certificate is not trusted" : "Invalid certificate";
}

static bool check_times(gnutls_x509_crt_t cert, GError **errp)
{
    time_t now = time(NULL);

    if (gnutls_x509_crt_get_expiration_time(cert) < now) {
        return tm_error_set(errp, "The certificate has expired");
    }
    return gnutls_x509_crt_get_activation_time(cert) <= now ||
           tm_error_set(errp, "The certificate is not yet activated");
}

static bool take_name(gnutls_x509_crt_t cert, char **name, GError **errp)
{
    size_t len = 0;
    int ret = gnutls_x509_crt_get_dn(cert, NULL, &len);

    if (ret == GNUTLS_E_SHORT_MEMORY_BUFFER) {
        *name = g_malloc(len + 1);
        ret = gnutls_x509_crt_get_dn(cert, *name, &len);
    }
    return ret >= 0 || tm_error_set(errp, "Cannot get client distinguished name: %s",
                                    gnutls_strerror(ret));
}

static bool check_hostname(gnutls_x509_crt_t cert, const char *hostname, GError **errp)
{
    if (!hostname) {
        return tm_error_set(errp, "No hostname for certificate validation");
    }
    return gnutls_x509_crt_check_hostname(cert, hostname) ||
           tm_error_set(errp, "Certificate does not match the hostname %s", hostname);
}

/* The first is the other side's own; the others lead from it to an authority. */
static bool check_cert(const gnutls_datum_t *der, bool own, const TlsCreds *creds,
                       const char *hostname, char **name, GError **errp)
{
    gnutls_x509_crt_t cert;
    int ret = gnutls_x509_crt_init(&cert);
    bool ok;

    if (ret < 0) {
        return tm_error_set(errp, "Cannot initialize certificate: %s", gnutls_strerror(ret));
    }
    ret = gnutls_x509_crt_import(cert, der, GNUTLS_X509_FMT_DER);
    if (ret < 0) {
        ok = tm_error_set(errp, "Cannot import certificate: %s", gnutls_strerror(ret));
    } else {
        ok = check_times(cert, errp) &&
             (!own || (take_name(cert, name, errp) &&
                       (creds->server || check_hostname(cert, hostname, errp))));
    }
    gnutls_x509_crt_deinit(cert);
    return ok;
}

bool tls_check_peer(gnutls_session_t session, const TlsCreds *creds, const char *hostname,
                    char **name, GError **errp)
{
    unsigned status = 0, n = 0;
    const gnutls_datum_t *certs;
    int ret;

    if (!creds->x509 || !creds->verify_peer) {
        return true; /* who knows the key has proved it by the handshake */
    }
    ret = gnutls_certificate_verify_peers2(session, &status);
    if (ret < 0) {
        return tm_error_set(errp, "Verify failed: %s", gnutls_strerror(ret));
    }
    if (status) {
        return tm_error_set(errp, "%s", tls_cert_fault(status));
    }
    certs = gnutls_certificate_get_peers(session, &n);
    if (!certs || !n) {
        return tm_error_set(errp, "No certificate peers");
    }
    for (unsigned i = 0; i < n; i++) {
        if (!check_cert(&certs[i], i == 0, creds, hostname, name, errp)) {
            return false;
        }
    }
    return true;
}
