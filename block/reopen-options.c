/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which options may change; see reopen-options.h.  Options are compared as QEMU compares them, and
 * named in errors as it names them: flat, "cache.direct", "inject-error.0.errno".
 */
#include "block/reopen-options.h"

#include <jansson.h>
#include <string.h>

#include "block/child.h"
#include "block/driver.h"
#include "util/error.h"

/* What every node has, and the core changes. */
static const char *const common_options[] = {
    "node-name", "discard", "cache.direct", "cache.no-flush", "read-only", "auto-read-only",
    "detect-zeroes", NULL,
};

static void flatten(json_t *flat, const char *prefix, json_t *value);

static void flatten_member(json_t *flat, const char *prefix, const char *key, json_t *value)
{
    g_autofree char *name = prefix ? g_strdup_printf("%s.%s", prefix, key) : g_strdup(key);

    flatten(flat, name, value);
}

static void flatten(json_t *flat, const char *prefix, json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;

    if (json_is_object(value)) {
        json_object_foreach(value, key, member) {
            flatten_member(flat, prefix, key, member);
        }
    } else if (json_is_array(value)) {
        json_array_foreach(value, i, member) {
            g_autofree char *index = g_strdup_printf("%zu", i);

            flatten_member(flat, prefix, index, member);
        }
    } else {
        json_object_set(flat, prefix, value);
    }
}

/* Is @key the option @name, or part of it? */
static bool is_part_of(const char *key, const char *name)
{
    size_t len = strlen(name);

    return strncmp(key, name, len) == 0 && (key[len] == '\0' || key[len] == '.');
}

static bool listed(const char *const *names, const char *key)
{
    for (; names && *names; names++) {
        if (is_part_of(key, *names)) {
            return true;
        }
    }
    return false;
}

static bool may_change(const BlockNode *node, const char *key)
{
    return listed(common_options, key) || listed(node->driver->reopen->options, key);
}

/* What the node was given, without its children, which are no options once they are there. */
static json_t *old_options(const BlockNode *node)
{
    json_t *flat = json_object();
    json_t *all = BlockdevOptions_to_json(node->given);

    for (guint i = 0; i < node->children->len; i++) {
        json_object_del(all, ((BlockChild *)node->children->pdata[i])->name);
    }
    json_object_del(all, "backing");
    flatten(flat, NULL, all);
    json_decref(all);
    return flat;
}

static json_t *new_options(const BlockdevOptions *given)
{
    json_t *flat = json_object();
    json_t *all = BlockdevOptions_to_json(given);

    flatten(flat, NULL, all);
    json_decref(all);
    return flat;
}

bool block_reopen_check_reset(const BlockNode *node, const BlockdevOptions *given, GError **errp)
{
    json_t *before = old_options(node), *after = new_options(given);
    const char *key;
    json_t *value;
    bool ok = true;

    json_object_foreach(before, key, value) {
        if (!json_object_get(after, key) && !may_change(node, key)) {
            ok = tm_error_set(errp, "Option '%s' cannot be reset to its default value", key);
            break;
        }
    }
    json_decref(before);
    json_decref(after);
    return ok;
}

/* Does the option belong to a child that was reopened with the node, or name one that is there? */
static bool is_child(const BlockNode *node, const char *key, const json_t *value)
{
    const char *name = json_string_value(value);

    for (guint i = 0; i < node->children->len; i++) {
        const BlockChild *child = node->children->pdata[i];

        if (name && strcmp(child->name, key) == 0 && strcmp(child->node->name, name) == 0) {
            return true;
        }
        if (child->node->inherits_from == node && key[strlen(child->name)] == '.' &&
            is_part_of(key, child->name)) {
            return true;
        }
    }
    return strcmp(key, "backing") == 0;
}

static bool unchanged(const BlockNode *node, const char *key, const json_t *value,
                      const json_t *before)
{
    if (strcmp(key, "node-name") == 0) {
        return strcmp(json_string_value(value), node->name) == 0;
    }
    return may_change(node, key) || is_child(node, key, value) ||
           json_equal(json_object_get(before, key), value);
}

bool block_reopen_check_unchanged(const BlockNode *node, const BlockdevOptions *given,
                                  GError **errp)
{
    json_t *before = old_options(node), *after = new_options(given);
    const char *key;
    json_t *value;
    bool ok = true;

    json_object_foreach(after, key, value) {
        if (!unchanged(node, key, value, before)) {
            ok = tm_error_set(errp, "Cannot change the option '%s'", key);
            break;
        }
    }
    json_decref(before);
    json_decref(after);
    return ok;
}

BlockdevOptions *block_reopen_merge(const BlockdevOptions *earlier, const BlockdevOptions *later,
                                    GError **errp)
{
    json_t *all = BlockdevOptions_to_json(earlier), *over = BlockdevOptions_to_json(later);
    BlockdevOptions *merged;

    if (earlier->driver == later->driver) {
        json_object_update(all, over);
        merged = BlockdevOptions_parse(all, NULL, errp);
    } else {
        merged = BlockdevOptions_copy(later);
    }
    json_decref(all);
    json_decref(over);
    return merged;
}

BlockChildOption block_reopen_child_option(const BlockdevOptions *given, const char *child,
                                           char **ref, BlockdevOptions **options)
{
    json_t *all = BlockdevOptions_to_json(given), *value = json_object_get(all, child);
    BlockChildOption option = BLOCK_CHILD_OPTION_ABSENT;

    if (json_is_null(value)) {
        option = BLOCK_CHILD_OPTION_NULL;
    } else if (json_is_string(value)) {
        option = BLOCK_CHILD_OPTION_NAME;
        if (ref) {
            *ref = g_strdup(json_string_value(value));
        }
    } else if (json_is_object(value)) {
        option = BLOCK_CHILD_OPTION_DEFINITION;
        if (options) {
            *options = BlockdevOptions_parse(value, NULL, NULL);
        }
    }
    json_decref(all);
    return option;
}
