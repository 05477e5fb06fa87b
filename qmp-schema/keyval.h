/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Options of the command line: "driver=raw,file.driver=file,file.filename=/a,,b", or a JSON object.
 *
 * key=value,… : a key is names or list indexes joined by '.'; a ',' in a value is doubled; the last of equal
 * keys counts. Every value becomes a JSON string, to be read in SCHEMA_INPUT_KEYVAL mode. The syntax and the
 * texts of errors are those of qemu-storage-daemon 10.0.
 */
#ifndef QMP_SCHEMA_KEYVAL_H
#define QMP_SCHEMA_KEYVAL_H

#include "qmp-schema/schema-input.h"

/*
 * Parses key=value,… into an object (a new reference), or NULL with an error. With @implied_key the first
 * value may stand without its key. With @help, a bare "help" or "?" sets *help and is otherwise ignored;
 * without, it is like any other word.
 */
json_t *keyval_parse(const char *text, const char *implied_key, bool *help, GError **errp);

/*
 * Parses an option that may be either form: JSON when @text starts with '{', else key=value. Sets @in to
 * the mode that its result is to be read in.
 */
json_t *keyval_or_json_parse(const char *text, const char *implied_key, SchemaInput *in, bool *help,
                             GError **errp);

#endif
