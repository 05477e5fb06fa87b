/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Overlays that are made for a node; see overlay.h. */
#include "block/overlay.h"

#include <string.h>

#include "block/driver.h"
#include "block/filename.h"
#include "block/image-folders.h"
#include "util/error.h"

static const BlockDriver *find_format(const char *format, GError **errp)
{
    int id = schema_enum_find(&BlockdevDriver_lookup, format);
    const BlockDriver *driver = id >= 0 ? block_driver_find(id) : NULL;

    if (!driver) {
        tm_error_set(errp, "Unknown driver '%s'", format);
    }
    return driver;
}

/* --- the image ---------------------------------------------------------------------------- */

static bool co_create(json_t *json, const BlockDriver *driver, GError **errp)
{
    g_autoptr(BlockdevCreateOptions) options =
        json ? BlockdevCreateOptions_parse(json, NULL, errp) : NULL;

    json_decref(json);
    return options && driver->image->co_create(options, errp);
}

/* An empty file, where it is to be one; other storage is there already. */
static bool co_make_file(json_t *file, GError **errp)
{
    const char *filename = json_string_value(json_object_get(file, "filename"));
    const char *driver = json_string_value(json_object_get(file, "driver"));

    return g_strcmp0(driver, "file") != 0 || !filename ||
           co_create(
               json_pack("{s:s, s:s, s:i}", "driver", "file", "filename", filename, "size", 0),
               block_driver_find(BLOCKDEV_DRIVER_FILE), errp);
}

/* By its absolute path, so that the name is right wherever the overlay lies. */
static char *co_backing_name(const BlockNode *node)
{
    char *path = block_filename_has_protocol(node->filename) ? NULL : co_real_path(node->filename);

    return path ? path : g_strdup(block_node_filename(node));
}

static bool co_make_image(json_t *file, const char *format, const BlockDriver *driver,
                          BlockNode *node, GError **errp)
{
    const BlockNode *image = block_node_skip_filters(node);
    g_autofree char *backing = NULL;
    json_int_t size = block_node_size(node);
    const char *backing_format = BlockdevDriver_name(image->driver->id);

    backing = co_backing_name(image); /* @node may be gone when it returns */
    return co_make_file(file, errp) &&
           co_create(json_pack("{s:s, s:O, s:I, s:s, s:s}", "driver", format, "file", file, "size",
                               size, "backing-file", backing, "backing-fmt", backing_format),
                     driver, errp);
}

bool co_block_overlay_make(const char *name, const char *format, const BlockNode *node,
                           GError **errp)
{
    const BlockDriver *driver = find_format(format, errp);
    json_t *file;
    bool ok;

    if (!driver) {
        return false;
    }
    if (!driver->image || !driver->image->co_create) {
        return tm_error_set(errp, "Format driver '%s' does not support image creation", format);
    }
    if (!driver->supports_backing) {
        return tm_error_set(errp, "Backing file not supported for file format '%s'", format);
    }
    file = co_block_filename_parse(name, errp);
    ok = file && co_make_image(file, format, driver, (BlockNode *)node, errp);
    json_decref(file);
    return ok;
}

/* --- the node ----------------------------------------------------------------------------- */

static json_t *describe(json_t *file, const char *format, const char *node_name,
                        const BlockNode *node)
{
    const BlockOptions *o = &node->options;

    return json_pack("{s:s, s:s, s:b, s:s, s:{s:b, s:b}, s:O}", "driver", format, "node-name",
                     node_name, "read-only", o->read_only, "discard",
                     o->discard_unmap ? "unmap" : "ignore", "cache", "direct", o->cache_direct,
                     "no-flush", o->cache_no_flush, "file", file);
}

BlockdevOptions *co_block_overlay_options(const char *name, const char *format,
                                          const char *node_name, const BlockNode *node,
                                          GError **errp)
{
    const BlockDriver *driver = find_format(format, errp);
    json_t *file = driver ? co_block_filename_parse(name, errp) : NULL, *json;
    BlockdevOptions *options;

    if (!file) {
        return NULL;
    }
    json = describe(file, format, node_name, node);
    json_decref(file);
    if (!json) {
        tm_error_set(errp, "Invalid node-name: '%s'", node_name);
        return NULL;
    }
    if (driver->supports_backing) {
        json_object_set_new(json, "backing", json_null());
    }
    options = block_options_from_json(json, errp);
    json_decref(json);
    return options;
}
