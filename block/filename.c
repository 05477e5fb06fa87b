/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of images; see filename.h. */
#include "block/filename.h"

#include <string.h>
#include <sys/stat.h>

#include "io/worker.h"
#include "qmp-schema/json-text.h"
#include "util/error.h"

#define NBD_PORT "10809"
#define MAX_DEPTH 64 /* of options in a name: recursion is bounded */

bool block_filename_has_protocol(const char *name)
{
    size_t len = strcspn(name, ":/");

    return len > 0 && name[len] == ':';
}

char *block_filename_resolve(const char *image, const char *name, GError **errp)
{
    g_autofree char *folder = NULL;

    if (block_filename_has_protocol(name) || name[0] == '/' || name[0] == '\0') {
        return g_strdup(name);
    }
    if (block_filename_has_protocol(image)) {
        tm_error_set(errp, "Cannot use relative backing file names for '%s'", image);
        return NULL;
    }
    if (!strchr(image, '/')) {
        return g_strdup(name);
    }
    folder = g_path_get_dirname(image);
    return g_build_filename(folder, name, NULL);
}

/* --- json: --- */

/* The levels of a dotted key. */
static unsigned levels_of(const char *key)
{
    unsigned levels = 1;

    for (; *key; key++) {
        levels += *key == '.';
    }
    return levels;
}

/* Puts @value where the dotted @key says; false where something else is there already. */
static bool put_dotted(json_t *into, const char *key, json_t *value)
{
    const char *dot = strchr(key, '.');
    g_autofree char *first = dot ? g_strndup(key, dot - key) : g_strdup(key);
    json_t *inner = json_object_get(into, first);

    if (!dot) {
        return !inner && json_object_set(into, key, value) == 0;
    }
    if (!inner) {
        inner = json_object();
        json_object_set_new(into, first, inner);
    }
    return json_is_object(inner) && put_dotted(inner, dot + 1, value);
}

static json_t *undot(json_t *value, unsigned depth, GError **errp);

static bool undot_member(json_t *result, const char *key, json_t *value, unsigned depth,
                         GError **errp)
{
    json_t *inner;
    bool ok;

    depth += levels_of(key);
    if (depth > MAX_DEPTH) {
        return tm_error_set(errp, "The JSON options are nested too deeply");
    }
    inner = undot(value, depth, errp);
    if (!inner) {
        return false;
    }
    ok = put_dotted(result, key, inner);
    json_decref(inner);
    return ok || tm_error_set(errp, "Cannot mix scalar and non-scalar keys ('%s')", key);
}

/* @value with dotted keys made into objects; a new reference. */
static json_t *undot(json_t *value, unsigned depth, GError **errp)
{
    json_t *result, *member;
    const char *key;

    if (!json_is_object(value)) {
        return json_incref(value);
    }
    result = json_object();
    json_object_foreach(value, key, member)
    {
        if (!undot_member(result, key, member, depth, errp)) {
            json_decref(result);
            return NULL;
        }
    }
    return result;
}

static json_t *parse_json(const char *text, GError **errp)
{
    json_t *object = json_text_parse(text, strlen(text), errp), *result;

    if (!object) {
        g_prefix_error(errp, "Could not parse the JSON options: ");
        return NULL;
    }
    if (!json_is_object(object)) {
        tm_error_set(errp, "Invalid JSON object given");
        json_decref(object);
        return NULL;
    }
    result = undot(object, 0, errp);
    json_decref(object);
    return result;
}

/* --- nbd --- */

/* Both strings of an address may be no UTF-8: then there is no such server. */
static json_t *nbd_options(json_t *server, const char *export, GError **errp)
{
    json_t *name = export && export[0] ? json_string(export) : NULL;

    if (!server || (export && export[0] && !name)) {
        json_decref(server);
        json_decref(name);
        tm_error_set(errp, "Invalid NBD address");
        return NULL;
    }
    return json_pack("{s:s, s:o, s:o*}", "driver", "nbd", "server", server, "export", name);
}

static json_t *inet_server(const char *host, const char *port)
{
    return json_pack("{s:s, s:s, s:s}", "type", "inet", "host", host, "port", port);
}

static json_t *unix_server(const char *path)
{
    return json_pack("{s:s, s:s}", "type", "unix", "path", path);
}

static char *socket_of(GUri *uri)
{
    const char *query = g_uri_get_query(uri);
    g_autoptr(GHashTable) params =
        query ? g_uri_parse_params(query, -1, "&", G_URI_PARAMS_NONE, NULL) : NULL;

    return params ? g_strdup(g_hash_table_lookup(params, "socket")) : NULL;
}

static json_t *parse_nbd_uri(const char *name, GError **errp)
{
    g_autoptr(GUri) uri = g_uri_parse(name, G_URI_FLAGS_ENCODED_QUERY, NULL);
    g_autofree char *socket = NULL, *port = NULL;
    const char *path, *host;

    if (!uri) {
        tm_error_set(errp, "No valid URL specified");
        return NULL;
    }
    path = g_uri_get_path(uri);
    path += path[0] == '/';
    host = g_uri_get_host(uri);
    socket = socket_of(uri);
    if (strcmp(g_uri_get_scheme(uri), "nbd+unix") == 0) {
        if (!socket || (host && host[0])) {
            tm_error_set(errp, "No valid URL specified");
            return NULL;
        }
        return nbd_options(unix_server(socket), path, errp);
    }
    if (!host || !host[0] || socket) {
        tm_error_set(errp, "No valid URL specified");
        return NULL;
    }
    port =
        g_uri_get_port(uri) > 0 ? g_strdup_printf("%d", g_uri_get_port(uri)) : g_strdup(NBD_PORT);
    return nbd_options(inet_server(host, port), path, errp);
}

/* "unix:PATH" or "HOST:PORT", and perhaps ":exportname=NAME" behind it. */
static json_t *parse_nbd_legacy(const char *text, GError **errp)
{
    const char *export = strstr(text, ":exportname=");
    g_autofree char *address = export ? g_strndup(text, export - text) : g_strdup(text);
    char *colon = strrchr(address, ':');

    export = export ? export + strlen(":exportname=") : NULL;
    if (g_str_has_prefix(address, "unix:")) {
        return nbd_options(unix_server(address + strlen("unix:")), export, errp);
    }
    if (!colon) {
        tm_error_set(errp, "Invalid NBD address");
        return NULL;
    }
    *colon = '\0';
    return nbd_options(inet_server(address, colon + 1), export, errp);
}

/* --- paths --- */

static int stat_is_device(void *opaque)
{
    struct stat st;

    return stat(opaque, &st) == 0 && (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode));
}

static json_t *path_options(const char *driver, const char *path, GError **errp)
{
    json_t *options = json_pack("{s:s, s:s}", "driver", driver, "filename", path);

    if (!options) {
        tm_error_set(errp, "The file name is no valid UTF-8");
    }
    return options;
}

static json_t *co_parse_path(const char *path, GError **errp)
{
    bool device = co_in_worker(stat_is_device, (void *)path);

    return path_options(device ? "host_device" : "file", path, errp);
}

static const char *after(const char *name, const char *prefix)
{
    return g_str_has_prefix(name, prefix) ? name + strlen(prefix) : NULL;
}

static bool is_nbd_uri(const char *name)
{
    return g_str_has_prefix(name, "nbd://") || g_str_has_prefix(name, "nbd+tcp://") ||
           g_str_has_prefix(name, "nbd+unix://");
}

json_t *co_block_filename_parse(const char *name, GError **errp)
{
    g_autofree char *protocol = NULL;
    const char *rest;

    if ((rest = after(name, "json:"))) {
        return parse_json(rest, errp);
    }
    if (is_nbd_uri(name)) {
        return parse_nbd_uri(name, errp);
    }
    if ((rest = after(name, "nbd:"))) {
        return parse_nbd_legacy(rest, errp);
    }
    if ((rest = after(name, "file:"))) {
        return path_options("file", rest, errp);
    }
    if ((rest = after(name, "host_device:"))) {
        return path_options("host_device", rest, errp);
    }
    if (!block_filename_has_protocol(name)) {
        return co_parse_path(name, errp);
    }
    protocol = g_strndup(name, strcspn(name, ":"));
    tm_error_set(errp, "Unknown protocol '%s'", protocol);
    return NULL;
}

/* --- options --- */

/* Values as the command line has them: some programs write names with strings only. */
static json_t *stringify(json_t *value)
{
    char number[64];

    switch (json_typeof(value)) {
    case JSON_TRUE:
        return json_string("on");
    case JSON_FALSE:
        return json_string("off");
    case JSON_INTEGER:
        g_snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return json_string(number);
    case JSON_OBJECT: {
        json_t *result = json_object(), *member;
        const char *key;

        json_object_foreach(value, key, member)
        {
            json_object_set_new(result, key, stringify(member));
        }
        return result;
    }
    default:
        return json_incref(value);
    }
}

BlockdevOptions *block_options_from_json(json_t *json, GError **errp)
{
    SchemaInput keyval = {.mode = SCHEMA_INPUT_KEYVAL};
    BlockdevOptions *options = BlockdevOptions_parse(json, NULL, NULL);

    if (!options) {
        json_t *strings = stringify(json);

        options = BlockdevOptions_parse(strings, &keyval, errp);
        json_decref(strings);
    }
    return options;
}
