/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors of control code; see error.h. */
#include "util/error.h"

G_DEFINE_QUARK(tidemark-error, tm_error)

const char *tm_error_class_name(const GError *error)
{
    static const char *const names[] = {
        [TM_ERROR_GENERIC] = "GenericError",
        [TM_ERROR_COMMAND_NOT_FOUND] = "CommandNotFound",
        [TM_ERROR_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
        [TM_ERROR_DEVICE_NOT_FOUND] = "DeviceNotFound",
    };

    return error->domain == TM_ERROR ? names[error->code] : names[TM_ERROR_GENERIC];
}

static bool set_valist(GError **errp, TmErrorClass class, int error, const char *format, va_list ap)
{
    g_autofree char *message = NULL;

    if (!errp) {
        return false;
    }
    message = g_strdup_vprintf(format, ap);
    if (error) {
        g_set_error(errp, TM_ERROR, class, "%s: %s", message, g_strerror(error));
    } else {
        g_set_error_literal(errp, TM_ERROR, class, message);
    }
    return false;
}

bool tm_error_set(GError **errp, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    set_valist(errp, TM_ERROR_GENERIC, 0, format, ap);
    va_end(ap);
    return false;
}

bool tm_error_set_errno(GError **errp, int error, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    set_valist(errp, TM_ERROR_GENERIC, error, format, ap);
    va_end(ap);
    return false;
}

bool tm_error_set_class(GError **errp, TmErrorClass class, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    set_valist(errp, class, 0, format, ap);
    va_end(ap);
    return false;
}
