/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files that the image names in its header: the backing file and the external data file.  A name is
 * a path, absolute or relative to the folder of the image.
 */
#include "block/drivers/qcow2/names.h"

#include "util/error.h"

#include <sys/stat.h>

char *qcow2_resolve_name(const BlockNode *node, const char *name)
{
    g_autofree char *folder = NULL;

    name += g_str_has_prefix(name, "file:") ? strlen("file:") : 0;
    if (g_path_is_absolute(name)) {
        return g_strdup(name);
    }
    folder = g_path_get_dirname(node->file->node->filename);
    return g_build_filename(folder, name, NULL);
}

BlockdevOptions *qcow2_file_options(const char *path)
{
    BlockdevOptions *options = g_new0(BlockdevOptions, 1);
    struct stat st;

    options->driver = stat(path, &st) == 0 && S_ISBLK(st.st_mode) ? BLOCKDEV_DRIVER_HOST_DEVICE
                                                                  : BLOCKDEV_DRIVER_FILE;
    if (options->driver == BLOCKDEV_DRIVER_FILE) {
        options->u.file.filename = g_strdup(path);
    } else {
        options->u.host_device.filename = g_strdup(path);
    }
    return options;
}

static BlockdevRef *inline_ref(BlockdevOptions *options)
{
    BlockdevRef *ref = g_new0(BlockdevRef, 1);

    ref->kind = BLOCKDEV_REF_KIND_DEFINITION;
    ref->u.definition = options;
    return ref;
}

static BlockdevOptions *backing_options(const char *path, const char *format, GError **errp)
{
    BlockdevOptions *options = g_new0(BlockdevOptions, 1);

    options->has_read_only = true;
    options->read_only = true;
    if (!format || strcmp(format, "qcow2") == 0) {
        options->driver = BLOCKDEV_DRIVER_QCOW2;
        options->u.qcow2.file = inline_ref(qcow2_file_options(path));
    } else if (strcmp(format, "raw") == 0) {
        options->driver = BLOCKDEV_DRIVER_RAW;
        options->u.raw.file = inline_ref(qcow2_file_options(path));
    } else {
        g_free(options);
        tm_error_set(errp, "Could not open backing file: Unknown driver '%s'", format);
        return NULL;
    }
    return options;
}

bool co_qcow2_open_backing(BlockNode *node, GError **errp)
{
    const Qcow2Header *h = &qcow2_state(node)->header;
    g_autofree char *path = qcow2_resolve_name(node, h->backing_name);
    g_autoptr(BlockdevOptions) options = backing_options(path, h->backing_format, errp);
    BlockdevRef ref = { .kind = BLOCKDEV_REF_KIND_DEFINITION, .u.definition = options };

    if (!options) {
        return false;
    }
    if (!co_block_open_child(node, &ref, "backing", BLOCK_ROLE_COW, errp)) {
        g_prefix_error(errp, "Could not open backing file: ");
        return false;
    }
    return true;
}
