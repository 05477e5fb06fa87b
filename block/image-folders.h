/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where files may lie that images name (--image-folders), for daemons that serve strangers' images.
 *
 * When folders were set, an image can name only files in them (links are followed), and no other
 * protocol nor node.  What the user names himself in options is not concerned.
 */
#ifndef BLOCK_IMAGE_FOLDERS_H
#define BLOCK_IMAGE_FOLDERS_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

/* Adds folders: a list with ':' between them.  At start.  An error where one does not exist. */
bool image_folders_add(const char *list, GError **errp);

/* May an image name such a node (JSON of BlockdevOptions)?  May yield. */
bool co_image_folders_check(json_t *options, GError **errp);

/* Where a file really is, links followed; NULL where there is none. */
char *co_real_path(const char *name);

#endif
