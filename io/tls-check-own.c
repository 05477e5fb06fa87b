/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Our own certificates are looked at when they are loaded: what is wrong with them is told to who
 * has made them, and not to a client as "handshake failed" much later.
 */
#include <gnutls/x509.h>
#include <string.h>
#include <time.h>

#include "io/tls-private.h"
#include "util/error.h"

#define MAX_CA_CERTS 16

typedef enum Use { USE_CA, USE_SERVER, USE_CLIENT } Use;

typedef struct Check {
    gnutls_x509_crt_t cert;
    const char *path;
    Use use;
} Check;

static const char *const use_names[] = {"CA", "server", "client"};

static bool check_times(const Check *check, GError **errp)
{
    time_t now = time(NULL);

    if (gnutls_x509_crt_get_expiration_time(check->cert) < now) {
        return tm_error_set(errp, "The %s certificate %s has expired", use_names[check->use],
                            check->path);
    }
    if (gnutls_x509_crt_get_activation_time(check->cert) > now) {
        return tm_error_set(errp, "The %s certificate %s is not yet active",
                            use_names[check->use], check->path);
    }
    return true;
}

static bool check_constraints(const Check *check, GError **errp)
{
    int is_ca = gnutls_x509_crt_get_basic_constraints(check->cert, NULL, NULL, NULL);

    if (is_ca < 0 && is_ca != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
        return tm_error_set(errp, "Unable to query certificate %s basic constraints: %s",
                            check->path, gnutls_strerror(is_ca));
    }
    if (check->use != USE_CA) {
        return is_ca <= 0 || tm_error_set(errp,
                                          "The certificate %s basic constraints show a CA, but we "
                                          "need one for a %s",
                                          check->path, use_names[check->use]);
    }
    if (is_ca == 0) {
        return tm_error_set(errp, "The certificate %s basic constraints do not show a CA",
                            check->path);
    }
    return is_ca > 0 || tm_error_set(errp,
                                     "The certificate %s is missing basic constraints for a CA",
                                     check->path);
}

/* Only what a certificate calls critical is a reason to refuse it. */
static bool check_key_usage(const Check *check, GError **errp)
{
    const struct {
        bool wanted;
        unsigned bit;
        const char *what;
    } needs[] = {
        {check->use == USE_CA, GNUTLS_KEY_KEY_CERT_SIGN, "certificate signing"},
        {check->use != USE_CA, GNUTLS_KEY_DIGITAL_SIGNATURE, "digital signature"},
        {check->use != USE_CA, GNUTLS_KEY_KEY_ENCIPHERMENT, "key encipherment"},
    };
    unsigned usage = 0, critical = 0;
    int ret = gnutls_x509_crt_get_key_usage(check->cert, &usage, &critical);

    if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
        return true;
    }
    if (ret < 0) {
        return tm_error_set(errp, "Unable to query certificate %s key usage: %s", check->path,
                            gnutls_strerror(ret));
    }
    for (unsigned i = 0; critical && i < G_N_ELEMENTS(needs); i++) {
        if (needs[i].wanted && !(usage & needs[i].bit)) {
            return tm_error_set(errp, "Certificate %s usage does not permit %s", check->path,
                                needs[i].what);
        }
    }
    return true;
}

static bool check_purpose(const Check *check, GError **errp)
{
    const char *wanted =
        check->use == USE_SERVER ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT;
    unsigned critical = 0, any_critical = 0;
    int ret = 0;

    for (unsigned i = 0; ret >= 0; i++) {
        char oid[128];
        size_t len = sizeof(oid);

        ret = gnutls_x509_crt_get_key_purpose_oid(check->cert, i, oid, &len, &critical);
        if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
            return i == 0 || !any_critical ||
                   tm_error_set(errp, "Certificate %s purpose does not allow use with a TLS %s",
                                check->path, use_names[check->use]);
        }
        any_critical |= critical;
        if (ret >= 0 && (g_str_equal(oid, wanted) || g_str_equal(oid, GNUTLS_KP_ANY))) {
            return true;
        }
    }
    return tm_error_set(errp, "Unable to query certificate %s key purpose: %s", check->path,
                        gnutls_strerror(ret));
}

static bool check_one(const Check *check, GError **errp)
{
    return check_times(check, errp) && check_constraints(check, errp) &&
           check_key_usage(check, errp) && (check->use == USE_CA || check_purpose(check, errp));
}

static bool check_signed(const Check *own, gnutls_x509_crt_t *ca, unsigned n_ca,
                         const char *ca_path, GError **errp)
{
    unsigned status;

    if (gnutls_x509_crt_list_verify(&own->cert, 1, ca, (int)n_ca, NULL, 0, 0, &status) < 0) {
        return tm_error_set(errp, "Unable to verify %s certificate %s against CA certificate %s",
                            use_names[own->use], own->path, ca_path);
    }
    return status == 0 ||
           tm_error_set(errp, "Our own certificate %s failed validation against %s: %s",
                        own->path, ca_path, tls_cert_fault(status));
}

static bool read_file(const char *path, char **text, gnutls_datum_t *data, GError **errp)
{
    g_autoptr(GError) error = NULL;

    if (!g_file_get_contents(path, text, NULL, &error)) {
        return tm_error_set(errp, "Cannot load CA cert list %s: %s", path, error->message);
    }
    *data = (gnutls_datum_t){.data = (unsigned char *)*text, .size = strlen(*text)};
    return true;
}

static bool load_own(Check *own, GError **errp)
{
    g_autofree char *text = NULL;
    gnutls_datum_t data;
    int ret;

    if (!read_file(own->path, &text, &data, errp)) {
        return false;
    }
    ret = gnutls_x509_crt_init(&own->cert);
    if (ret >= 0) {
        ret = gnutls_x509_crt_import(own->cert, &data, GNUTLS_X509_FMT_PEM);
    }
    return ret >= 0 || tm_error_set(errp, "Unable to import %s certificate %s: %s",
                                    use_names[own->use], own->path, gnutls_strerror(ret));
}

static bool load_ca(const char *path, gnutls_x509_crt_t *ca, unsigned *n_ca, GError **errp)
{
    g_autofree char *text = NULL;
    gnutls_datum_t data;
    unsigned n = MAX_CA_CERTS;

    if (!read_file(path, &text, &data, errp)) {
        return false;
    }
    if (gnutls_x509_crt_list_import(ca, &n, &data, GNUTLS_X509_FMT_PEM, 0) < 0) {
        return tm_error_set(errp, "Unable to import CA certificate list %s", path);
    }
    *n_ca = n;
    return true;
}

static bool check_all(const Check *own, gnutls_x509_crt_t *ca, unsigned n_ca, const char *ca_path,
                      GError **errp)
{
    if (own->path && !check_one(own, errp)) {
        return false;
    }
    for (unsigned i = 0; i < n_ca; i++) {
        Check authority = {.cert = ca[i], .path = ca_path, .use = USE_CA};

        if (!check_one(&authority, errp)) {
            return false;
        }
    }
    return !own->path || check_signed(own, ca, n_ca, ca_path, errp);
}

bool tls_check_own(bool server, const char *ca_path, const char *cert_path, GError **errp)
{
    Check own = {.path = cert_path, .use = server ? USE_SERVER : USE_CLIENT};
    gnutls_x509_crt_t ca[MAX_CA_CERTS];
    unsigned n_ca = 0;
    bool ok = (!cert_path || load_own(&own, errp)) && load_ca(ca_path, ca, &n_ca, errp) &&
              check_all(&own, ca, n_ca, ca_path, errp);

    if (own.cert) {
        gnutls_x509_crt_deinit(own.cert);
    }
    for (unsigned i = 0; i < n_ca; i++) {
        gnutls_x509_crt_deinit(ca[i]);
    }
    return ok;
}
