/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Errors of control code: a GError whose code is the QMP error class.
 *
 * I/O does not use these: it returns 0 or -errno.
 */
#ifndef UTIL_ERROR_H
#define UTIL_ERROR_H

#include <glib.h>
#include <stdbool.h>

#define TM_ERROR (tm_error_quark())
GQuark tm_error_quark(void);

/* The classes of QMP (QMP specification, "2.4.2 error"); all but GENERIC exist for old clients. */
typedef enum TmErrorClass {
    TM_ERROR_GENERIC,
    TM_ERROR_COMMAND_NOT_FOUND,
    TM_ERROR_DEVICE_NOT_ACTIVE,
    TM_ERROR_DEVICE_NOT_FOUND,
} TmErrorClass;

/* The class's name as QMP writes it; an error of any other domain is a "GenericError". */
const char *tm_error_class_name(const GError *error);

/* Sets *errp (if errp is not NULL) to a generic error. A convenience: always returns false. */
bool tm_error_set(GError **errp, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* The same with ": " and the text of the errno @error (positive) behind the message. */
bool tm_error_set_errno(GError **errp, int error, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The same with a class. */
bool tm_error_set_class(GError **errp, TmErrorClass class, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

#endif
