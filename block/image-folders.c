/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where files may lie that images name; see image-folders.h. */
#include "block/image-folders.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "io/worker.h"
#include "util/error.h"

/* The process's: set at start and never changed.  NULL: any folder will do. */
static struct {
    GPtrArray *paths; /* of char *, canonical, each with a '/' at its end */
} folders;

bool image_folders_add(const char *list, GError **errp)
{
    g_auto(GStrv) names = g_strsplit(list, ":", -1);

    if (!folders.paths) {
        folders.paths = g_ptr_array_new_with_free_func(g_free);
    }
    for (char **name = names; *name; name++) {
        char path[PATH_MAX];

        if (!realpath(*name, path)) {
            return tm_error_set_errno(errp, errno, "Cannot use the image folder '%s'", *name);
        }
        g_ptr_array_add(folders.paths, g_strdup_printf("%s/", strcmp(path, "/") ? path : ""));
    }
    return true;
}

typedef struct RealPath {
    const char *name;
    char path[PATH_MAX];
} RealPath;

static int find_real_path(void *opaque)
{
    RealPath *find = opaque;

    return realpath(find->name, find->path) ? 0 : -errno;
}

char *co_real_path(const char *name)
{
    g_autofree RealPath *find = g_new0(RealPath, 1);

    find->name = name;
    return co_in_worker(find_real_path, find) == 0 ? g_strdup(find->path) : NULL;
}

static bool in_folders(const char *path)
{
    for (guint i = 0; path && i < folders.paths->len; i++) {
        if (g_str_has_prefix(path, folders.paths->pdata[i])) {
            return true;
        }
    }
    return false;
}

static bool co_check_file(const char *name, GError **errp)
{
    g_autofree char *path = co_real_path(name);

    return in_folders(path) ||
           tm_error_set(errp, "'%s' is not in a folder of --image-folders", name);
}

/* A member of options that an image names: inner nodes are checked, others must not lead away. */
static bool co_check_member(const char *key, json_t *value, GError **errp);

/*
 * With folders set, only files in them and formats on those: no other protocol, and none of the
 * nodes that exist already.
 */
bool co_image_folders_check(json_t *options, GError **errp)
{
    static const char *const allowed[] = {"file", "host_device", "raw", "qcow2", NULL};
    const char *driver = json_string_value(json_object_get(options, "driver")), *key;
    json_t *value;

    if (!folders.paths) {
        return true;
    }
    if (driver && !g_strv_contains(allowed, driver)) {
        return tm_error_set(errp,
                            "An image may not name a node of driver '%s' with "
                            "--image-folders",
                            driver);
    }
    json_object_foreach(options, key, value)
    {
        if (!co_check_member(key, value, errp)) {
            return false;
        }
    }
    return true;
}

static bool co_check_member(const char *key, json_t *value, GError **errp)
{
    static const char *const children[] = {"file", "backing", "data-file", NULL};

    if (json_is_object(value)) {
        return co_image_folders_check(value, errp);
    }
    if (strcmp(key, "filename") == 0 && json_is_string(value)) {
        return co_check_file(json_string_value(value), errp);
    }
    if (g_strv_contains(children, key) && json_is_string(value)) {
        return tm_error_set(errp, "An image may not name the node '%s' with --image-folders",
                            json_string_value(value));
    }
    return true;
}
