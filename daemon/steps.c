/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Options that make something; see steps.h. */
#include "daemon/steps.h"

#include <string.h>

#include "block/image-folders.h"
#include "block/scratch-dir.h"
#include "daemon/bare-words.h"
#include "monitor/chardev.h"
#include "monitor/monitor.h"
#include "nbd-export/server-options.h"
#include "qmp-schema/keyval.h"
#include "qmp-schema/qmp-commands.h"
#include "util/error.h"

bool co_step_blockdev(const char *arg, GError **errp)
{
    SchemaInput in;
    json_t *json = keyval_or_json_parse(arg, "driver", &in, NULL, errp);
    g_autoptr(BlockdevOptions) options = json ? BlockdevOptions_parse(json, &in, errp) : NULL;

    json_decref(json);
    return options && qmp_blockdev_add(options, errp);
}

bool co_step_export(const char *arg, GError **errp)
{
    SchemaInput in;
    json_t *json = keyval_or_json_parse(arg, "type", &in, NULL, errp);
    g_autoptr(BlockExportOptions) options = json ? BlockExportOptions_parse(json, &in, errp) : NULL;

    json_decref(json);
    return options && qmp_block_export_add(options, errp);
}

bool co_step_nbd_server(const char *arg, GError **errp)
{
    SchemaInput in;
    json_t *json = keyval_or_json_parse(arg, NULL, &in, NULL, errp);
    g_autoptr(NbdServerOptions) options = json ? NbdServerOptions_parse(json, &in, errp) : NULL;

    json_decref(json);
    return options && co_nbd_server_start_options(options, errp);
}

bool co_step_object(const char *arg, GError **errp)
{
    SchemaInput in;
    json_t *json = keyval_or_json_parse(arg, "qom-type", &in, NULL, errp);
    g_autoptr(ObjectOptions) options = json ? ObjectOptions_parse(json, &in, errp) : NULL;

    json_decref(json);
    return options && qmp_object_add(options, errp);
}

bool co_step_monitor(const char *arg, GError **errp)
{
    SchemaInput in = {.mode = SCHEMA_INPUT_KEYVAL};
    g_autofree char *text = bare_words_to_keyval(arg, "chardev");
    json_t *json = arg[0] == '{' ? keyval_or_json_parse(arg, NULL, &in, NULL, errp)
                                 : keyval_parse(text, "chardev", NULL, errp);
    g_autoptr(MonitorOptions) options = json ? MonitorOptions_parse(json, &in, errp) : NULL;

    json_decref(json);
    return options && monitor_add(options, errp);
}

/* --- chardev --- */

static bool add_stdio(const json_t *json, const char *id, GError **errp)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)json, key, value)
    {
        /* signal: whether ^C is a signal; here it always is */
        if (strcmp(key, "id") != 0 && strcmp(key, "signal") != 0 && strcmp(key, "mux") != 0) {
            return tm_error_set(errp, "Invalid parameter '%s'", key);
        }
    }
    return chardev_add_stdio(id, errp);
}

/* QEMU reads --chardev by other means than the other options, and has other words for this. */
static bool reword_unexpected(GError *error, GError **errp)
{
    const char *name = error->message + strlen("Parameter ");

    if (!g_str_has_suffix(error->message, "' is unexpected")) {
        g_propagate_error(errp, error);
        return false;
    }
    tm_error_set(errp, "Invalid parameter %.*s", (int)(strlen(name) - strlen(" is unexpected")),
                 name);
    g_error_free(error);
    return false;
}

static bool co_add_socket(const json_t *json, GError **errp)
{
    SchemaInput in = {.mode = SCHEMA_INPUT_KEYVAL};
    GError *error = NULL;
    g_autoptr(ChardevSocketOptions) options = ChardevSocketOptions_parse(json, &in, &error);

    return options ? co_chardev_add_socket(options, errp) : reword_unexpected(error, errp);
}

/* The backend's own options are left in @json. */
static bool co_add_chardev(json_t *json, GError **errp)
{
    g_autofree char *backend = g_strdup(json_string_value(json_object_get(json, "backend")));
    const char *id = json_string_value(json_object_get(json, "id"));

    if (!backend) {
        return tm_error_set(errp, "chardev: \"%s\" missing backend", id ? id : "");
    }
    if (!id) {
        return tm_error_set(errp, "chardev: no id specified");
    }
    json_object_del(json, "backend");
    if (strcmp(backend, "stdio") == 0) {
        return add_stdio(json, id, errp);
    }
    if (strcmp(backend, "socket") == 0) {
        return co_add_socket(json, errp);
    }
    return tm_error_set(errp, "'%s' is not a valid char driver name", backend);
}

bool co_step_chardev(const char *arg, GError **errp)
{
    g_autofree char *text = bare_words_to_keyval(arg, "backend");
    json_t *json = keyval_parse(text, "backend", NULL, errp);
    bool ok = json && co_add_chardev(json, errp);

    json_decref(json);
    return ok;
}

bool co_step_scratch_dir(const char *arg, GError **errp)
{
    return scratch_dir_set(arg, errp);
}

bool co_step_image_folders(const char *arg, GError **errp)
{
    return image_folders_add(arg, errp);
}
