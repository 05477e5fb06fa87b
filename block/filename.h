/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names of images, as they stand in headers and in commands: paths, "file:…", "nbd://…",
 * "nbd+unix://…", "nbd:…" and "json:{…}".
 */
#ifndef BLOCK_FILENAME_H
#define BLOCK_FILENAME_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "qmp-schema/qmp-types.h"

/* Does it begin with "word:", so that it is no path? */
bool block_filename_has_protocol(const char *name);

/*
 * @name as seen from the folder of the image @image: a relative path is made one from where the
 * daemon is.  An error where @image is not in a folder (an NBD export).  Freed by the caller.
 */
char *block_filename_resolve(const char *image, const char *name, GError **errp);

/*
 * The node that @name stands for, as JSON of BlockdevOptions: that of a protocol, or for "json:{…}"
 * whatever is in it (dotted keys made into objects).  A new reference.  Errors in QEMU's words. May
 * yield.
 */
json_t *co_block_filename_parse(const char *name, GError **errp);

/*
 * The options that @json describes; scalars may be strings, as on the command line.  Freed by the
 * caller.
 */
BlockdevOptions *block_options_from_json(json_t *json, GError **errp);

#endif
