/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Options of the command line: "driver=raw,file.driver=file,file.filename=/a,,b", or a JSON object.
 *
 * A key is names joined by '.', where a number stands for an index of a list; a ',' in a value is
 * doubled; the last of equal keys counts. Every value becomes a JSON string (its bytes are kept, be
 * they UTF-8 or not), to be read in SCHEMA_INPUT_KEYVAL mode. The syntax and the texts of errors
 * are those of qemu-storage-daemon 10.0.
 */
#ifndef QMP_SCHEMA_KEYVAL_H
#define QMP_SCHEMA_KEYVAL_H

#include "qmp-schema/schema-input.h"

/*
 * Parses key=value,… into an object (a new reference), or NULL with an error. With @implied_key the
 * first value may stand without its key; it then ends at the first ','. A bare "help" or "?" sets
 * *help and is otherwise skipped; with @help NULL it is an error.
 */
json_t *keyval_parse(const char *text, const char *implied_key, bool *help, GError **errp);

/*
 * Parses an option of either form: JSON when @text starts with '{', else key=value. Sets @in to the
 * mode in which the result is to be read.
 */
json_t *keyval_or_json_parse(const char *text, const char *implied_key, SchemaInput *in, bool *help,
                             GError **errp);

/*
 * Parses the older form that --chardev has: keys are flat, and beside key=value there are bare
 * words: "server" stands for server=on, "nowait" for wait=off. Each of these is put into
 * @short_forms (may be NULL; its elements are g_malloced strings such as "nowait") for a warning.
 * Never fails.
 */
json_t *keyval_parse_flat(const char *text, const char *implied_key, GPtrArray *short_forms);

#endif
