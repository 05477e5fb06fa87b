/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may come in; see authz.h. */
#include "block/objects/authz.h"

#include <string.h>
#include <sys/stat.h>

#include "qmp-schema/json-text.h"
#include "util/error.h"

struct Authz {
    AuthZListProperties *list; /* NULL: nobody may come in */
    /* Of a file only. */
    char *filename;
    bool refresh;
    struct stat read; /* what the file was when it was read */
};

/* --- rules --- */

static bool matches(const QAuthZListRule *rule, const char *identity)
{
    return rule->has_format && rule->format == Q_AUTH_Z_LIST_FORMAT_GLOB
               ? g_pattern_match_simple(rule->match, identity)
               : g_str_equal(rule->match, identity);
}

static bool list_allows(const AuthZListProperties *list, const char *identity)
{
    QAuthZListPolicy policy = list->has_policy ? list->policy : Q_AUTH_Z_LIST_POLICY_DENY;

    for (guint i = 0; list->rules && i < list->rules->len; i++) {
        const QAuthZListRule *rule = list->rules->pdata[i];

        if (matches(rule, identity)) {
            policy = rule->policy;
            break;
        }
    }
    return policy == Q_AUTH_Z_LIST_POLICY_ALLOW;
}

/* --- a file --- */

static AuthZListProperties *parse(const char *text, gsize len, const char *filename, GError **errp)
{
    json_t *json = json_text_parse(text, len, errp);
    AuthZListProperties *list = NULL;

    if (json && !json_is_object(json)) {
        tm_error_set(errp, "File '%s' must contain a JSON object", filename);
    } else if (json) {
        list = AuthZListProperties_parse(json, NULL, errp);
    }
    json_decref(json);
    return list;
}

static bool read_file(Authz *authz, GError **errp)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    gsize len;

    g_clear_pointer(&authz->list, AuthZListProperties_free);
    if (!g_file_get_contents(authz->filename, &text, &len, &error)) {
        return tm_error_set(errp, "Unable to read '%s': %s", authz->filename, error->message);
    }
    authz->list = parse(text, len, authz->filename, errp);
    return authz->list != NULL;
}

/* Looks before it reads: what is written in between is read again. */
static bool has_changed(Authz *authz)
{
    struct stat now = {0};
    bool same;

    (void)!stat(authz->filename, &now);
    same = now.st_ino == authz->read.st_ino && now.st_dev == authz->read.st_dev &&
           now.st_size == authz->read.st_size &&
           now.st_mtim.tv_sec == authz->read.st_mtim.tv_sec &&
           now.st_mtim.tv_nsec == authz->read.st_mtim.tv_nsec;
    authz->read = now;
    return !same;
}

static void read_again(Authz *authz)
{
    g_autoptr(GError) error = NULL;

    if (!read_file(authz, &error)) {
        g_warning("%s: nobody is let in", error->message);
    }
}

/* --- */

Authz *authz_new_simple(const AuthZSimpleProperties *options)
{
    AuthZListProperties list = {.rules = g_ptr_array_new()};
    QAuthZListRule rule = {.match = options->identity, .policy = Q_AUTH_Z_LIST_POLICY_ALLOW};
    Authz *authz;

    g_ptr_array_add(list.rules, &rule);
    authz = authz_new_list(&list);
    g_ptr_array_free(list.rules, true);
    return authz;
}

Authz *authz_new_list(const AuthZListProperties *options)
{
    Authz *authz = g_new0(Authz, 1);

    authz->list = AuthZListProperties_copy(options);
    return authz;
}

Authz *authz_new_file(const AuthZListFileProperties *options, GError **errp)
{
    Authz *authz = g_new0(Authz, 1);

    authz->filename = g_strdup(options->filename);
    authz->refresh = !options->has_refresh || options->refresh;
    has_changed(authz);
    if (!read_file(authz, errp)) {
        g_clear_pointer(&authz, authz_free);
    } else if (authz->refresh && !strchr(authz->filename, '/')) {
        tm_error_set(errp, "Filename must be an absolute path");
        g_clear_pointer(&authz, authz_free);
    }
    return authz;
}

void authz_free(void *opaque)
{
    Authz *authz = opaque;

    AuthZListProperties_free(authz->list);
    g_free(authz->filename);
    g_free(authz);
}

UserObject *authz_hold(const char *id, GError **errp)
{
    UserObject *object = user_object_find(id);

    if (!object) {
        tm_error_set(errp, "Cannot find QAuthZ object ID %s", id);
        return NULL;
    }
    switch (object->type) {
    case OBJECT_TYPE_AUTHZ_LIST:
    case OBJECT_TYPE_AUTHZ_LISTFILE:
    case OBJECT_TYPE_AUTHZ_SIMPLE:
        return user_object_hold(object);
    default:
        tm_error_set(errp, "Object '%s' is not a QAuthZ subclass", id);
        return NULL;
    }
}

bool authz_allows(Authz *authz, const char *identity)
{
    if (authz->refresh && has_changed(authz)) {
        read_again(authz);
    }
    return authz->list && list_allows(authz->list, identity);
}
