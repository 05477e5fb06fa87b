/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that an image names; see backing.h. */
#include "block/backing.h"

#include <errno.h>
#include <string.h>

#include "block/control.h"
#include "block/driver.h"
#include "block/filename.h"
#include "block/image-folders.h"
#include "block/node-int.h"
#include "block/node-io.h"
#include "block/work.h"
#include "util/error.h"

#define PROBE_BYTES 512

/* --- loops -------------------------------------------------------------------------------- */

static bool co_same_file(const char *a, const char *b)
{
    g_autofree char *a_path = NULL, *b_path = NULL;

    if (strcmp(a, b) == 0) {
        return true;
    }
    if (block_filename_has_protocol(a) || block_filename_has_protocol(b)) {
        return false;
    }
    a_path = co_real_path(a);
    b_path = co_real_path(b);
    return a_path && b_path && strcmp(a_path, b_path) == 0;
}

/* The nodes above are all being opened, each for the next one above it. */
static bool co_check_loop(const BlockNode *node, const char *name, GError **errp)
{
    unsigned depth = 0;

    for (const BlockNode *above = node; above; above = above->opened_for) {
        if (co_same_file(block_node_filename(above), name)) {
            return tm_error_set(errp, "The backing chain of '%s' leads back to it",
                                block_node_filename(above));
        }
        if (++depth >= BLOCK_MAX_CHAIN) {
            return tm_error_set(errp, "The backing chain has more than %d layers", BLOCK_MAX_CHAIN);
        }
    }
    return true;
}

/* --- the format --------------------------------------------------------------------------- */

static int co_read_start(BlockNode *node, uint8_t *buf, GError **errp)
{
    BlockWork *work = block_work_new();
    BlockChild *child =
        co_block_work_attach(work, node, BLOCK_PERM_CONSISTENT_READ, BLOCK_PERM_ALL, errp);
    size_t len = MIN(node->size, PROBE_BYTES);
    int ret = -EPERM;

    if (child) {
        co_move(node->loop);
        ret = len ? co_block_read_buf(child, 0, buf, len) : 0;
        co_move(control_loop());
        if (ret < 0) {
            tm_error_set_errno(errp, -ret, "Could not read image for determining its format");
        }
    }
    co_block_work_free(work);
    return ret;
}

/*
 * The format of what is in the node: qcow2 by its magic, else raw.  (An image that names no format
 * was made long ago.  Raw is opened for reading only, so that its guest cannot make a qcow2 header
 * there.)
 */
static const char *co_probe(BlockNode *node, GError **errp)
{
    static const uint8_t magic[] = {'Q', 'F', 'I', 0xfb};
    uint8_t buf[PROBE_BYTES] = {0};

    if (co_read_start(node, buf, errp) < 0) {
        return NULL;
    }
    return memcmp(buf, magic, sizeof(magic)) == 0 ? "qcow2" : "raw";
}

static BlockNode *co_open_json(json_t *json, BlockNode *parent, GError **errp)
{
    g_autoptr(BlockdevOptions) options = block_options_from_json(json, errp);

    if (!options) {
        return NULL;
    }
    options->read_only = options->has_read_only ? options->read_only : true;
    options->has_read_only = true;
    options->has_auto_read_only = options->has_auto_read_only || options->read_only;
    return co_block_node_open_inherit(options, parent, errp);
}

/* A node of @format on the node @file, which the new one keeps. */
static BlockNode *co_open_on_node(const char *format, BlockNode *file, BlockNode *parent,
                                  GError **errp)
{
    json_t *json = json_pack("{s:s, s:s}", "driver", format, "file", file->name);
    BlockNode *node = co_open_json(json, parent, errp);

    json_decref(json);
    return node;
}

static BlockNode *co_open_probed(json_t *protocol, BlockNode *parent, GError **errp)
{
    BlockNode *file = co_open_json(protocol, parent, errp), *node;
    const char *format = file ? co_probe(file, errp) : NULL;

    node = format ? co_open_on_node(format, file, parent, errp) : NULL;
    co_block_node_unref(file);
    return node;
}

/* --- the backing file --------------------------------------------------------------------- */

/* Of options that the image gives as "json:": as they are, but for what they leave out. */
static BlockNode *co_open_json_name(json_t *options, const char *format, BlockNode *parent,
                                    GError **errp)
{
    json_t *file = json_object_get(options, "file");

    if (format && (file || json_object_get(options, "image"))) {
        json_object_set_new(options, "driver", json_string(format));
    }
    if (!json_object_get(options, "driver") && json_is_object(file)) {
        return co_open_probed(file, parent, errp);
    }
    return co_open_json(options, parent, errp);
}

/* @options are those of a protocol. */
static BlockNode *co_open_on_protocol(json_t *options, const char *format, BlockNode *parent,
                                      GError **errp)
{
    json_t *whole;
    BlockNode *node;

    if (!format) {
        return co_open_probed(options, parent, errp);
    }
    whole = json_pack("{s:s, s:O}", "driver", format, "file", options);
    node = co_open_json(whole, parent, errp);
    json_decref(whole);
    return node;
}

/* Do they describe a node that stands on another one, or whatever the image wants? */
static bool stands_alone(const char *name, const json_t *options, const char *format)
{
    return g_str_has_prefix(name, "json:") &&
           (!format || json_object_get(options, "file") || json_object_get(options, "image"));
}

static bool check_format(const char *format, GError **errp)
{
    int driver = format ? schema_enum_find(&BlockdevDriver_lookup, format) : 0;

    return !format || (driver >= 0 && block_driver_find(driver)) ||
           tm_error_set(errp, "Unknown driver '%s'", format);
}

static BlockNode *co_open_named(BlockNode *node, const char *name, const char *format,
                                GError **errp)
{
    g_autofree char *resolved = block_filename_resolve(block_node_filename(node), name, errp);
    BlockNode *backing = NULL;
    json_t *options;

    if (!resolved || !check_format(format, errp) || !co_check_loop(node, resolved, errp)) {
        return NULL;
    }
    options = co_block_filename_parse(resolved, errp);
    if (options && co_image_folders_check(options, errp)) {
        backing = stands_alone(resolved, options, format)
                      ? co_open_json_name(options, format, node, errp)
                      : co_open_on_protocol(options, format, node, errp);
    }
    json_decref(options);
    return backing;
}

bool co_block_open_backing(BlockNode *node, const char *name, const char *format, GError **errp)
{
    BlockNode *backing = co_open_named(node, name, format, errp);
    BlockChild *child = NULL;

    if (backing) {
        child = co_block_child_attach(node, backing, "backing", BLOCK_ROLE_COW, errp);
        co_block_node_unref(backing); /* the edge has its own */
    }
    if (!child) {
        g_prefix_error(errp, "Could not open backing file: ");
    }
    return child;
}

BlockdevOptions *co_block_named_file_options(const BlockNode *node, const char *name, GError **errp)
{
    g_autofree char *resolved = block_filename_resolve(block_node_filename(node), name, errp);
    json_t *json = resolved ? co_block_filename_parse(resolved, errp) : NULL;
    BlockdevOptions *options = NULL;

    if (json && co_image_folders_check(json, errp)) {
        options = block_options_from_json(json, errp);
    }
    json_decref(json);
    return options;
}
