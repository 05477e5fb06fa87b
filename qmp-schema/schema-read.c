/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The containers of the generated parsers: objects, lists, alternates, and the path in errors. */
#include "qmp-schema/schema-read.h"

#include "util/error.h"

/* Puts the path to @frame before what @path holds already. */
static void prepend_frame(GString *path, const SchemaFrame *frame)
{
    bool keyval = frame->in && frame->in->mode == SCHEMA_INPUT_KEYVAL;

    if (!frame->up) {
        return;
    }
    if (json_is_array(frame->value)) {
        g_autofree char *index = g_strdup_printf(keyval ? ".%u" : "[%u]", frame->index);
        g_string_prepend(path, index);
    } else {
        g_string_prepend_c(path, '.');
    }
    if (frame->name) {
        g_string_prepend(path, frame->name);
    }
    prepend_frame(path, frame->up);
}

static char *path_to(const SchemaFrame *at, const char *name)
{
    GString *path = g_string_new(name);

    prepend_frame(path, at);
    if (path->str[0] == '.') {
        g_string_erase(path, 0, 1);
    }
    if (!path->len) {
        g_string_assign(path, "<anonymous>");
    }
    return g_string_free(path, FALSE);
}

bool schema_fail_at(const SchemaFrame *at, const char *name, GError **errp, const char *format)
{
    g_autofree char *path = path_to(at, name);
    g_auto(GStrv) around = g_strsplit(format, "%s", 2);

    return tm_error_set(errp, "%s%s%s", around[0], path, around[1]);
}

static bool enter(SchemaFrame *frame, const SchemaFrame *at, const char *name, const json_t *v,
                  GError **errp)
{
    if (at->depth == SCHEMA_MAX_DEPTH) {
        return tm_error_set(errp, "Parameters are nested more than %d deep", SCHEMA_MAX_DEPTH);
    }
    *frame =
        (SchemaFrame){.up = at, .name = name, .value = v, .in = at->in, .depth = at->depth + 1};
    return true;
}

bool schema_enter_object(SchemaFrame *frame, const SchemaFrame *at, const char *name,
                         const json_t *v, GError **errp)
{
    if (v && !json_is_object(v)) {
        return schema_fail_at(at, name, errp, "Invalid parameter type for '%s', expected: object");
    }
    if (!enter(frame, at, name, v, errp)) {
        return false;
    }
    frame->taken = g_ptr_array_new();
    return true;
}

void schema_frame_clear(SchemaFrame *frame)
{
    g_clear_pointer(&frame->taken, g_ptr_array_unref);
}

static bool was_taken(const SchemaFrame *frame, const char *key)
{
    return g_ptr_array_find_with_equal_func(frame->taken, key, g_str_equal, NULL);
}

bool schema_leave_object(const SchemaFrame *frame, GError **errp)
{
    const char *key;
    json_t *value;

    if (json_object_size(frame->value) == frame->taken->len) {
        return true;
    }
    json_object_foreach((json_t *)frame->value, key, value)
    {
        if (!was_taken(frame, key)) {
            return schema_fail_at(frame, key, errp, "Parameter '%s' is unexpected");
        }
    }
    return true;
}

const json_t *schema_take_optional(SchemaFrame *frame, const char *name)
{
    const json_t *v = json_object_get(frame->value, name);

    if (v) {
        g_ptr_array_add(frame->taken, (char *)name);
    }
    return v;
}

const json_t *schema_take(SchemaFrame *frame, const char *name, GError **errp)
{
    const json_t *v = schema_take_optional(frame, name);

    if (!v) {
        schema_fail_at(frame, name, errp, "Parameter '%s' is missing");
    }
    return v;
}

static bool enter_array(SchemaFrame *frame, const SchemaFrame *at, const char *name,
                        const json_t *v, GError **errp)
{
    if (!json_is_array(v)) {
        return schema_fail_at(at, name, errp, "Invalid parameter type for '%s', expected: array");
    }
    return enter(frame, at, name, v, errp);
}

GPtrArray *schema_read_list(const SchemaFrame *at, const char *name, const json_t *v,
                            SchemaReadFn *read, GDestroyNotify free, GError **errp)
{
    SchemaFrame frame;

    if (!enter_array(&frame, at, name, v, errp)) {
        return NULL;
    }
    g_autoptr(GPtrArray) list = g_ptr_array_new_full(json_array_size(v), free);
    for (; frame.index < json_array_size(v); frame.index++) {
        void *element = read(&frame, NULL, json_array_get(v, frame.index), errp);
        if (!element) {
            return NULL;
        }
        g_ptr_array_add(list, element);
    }
    return g_steal_pointer(&list);
}

GArray *schema_read_enum_list(const SchemaFrame *at, const char *name, const json_t *v,
                              const SchemaEnum *lookup, GError **errp)
{
    SchemaFrame frame;

    if (!enter_array(&frame, at, name, v, errp)) {
        return NULL;
    }
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(int));
    for (; frame.index < json_array_size(v); frame.index++) {
        int value = schema_read_enum(&frame, NULL, json_array_get(v, frame.index), lookup, errp);
        if (value < 0) {
            return NULL;
        }
        g_array_append_val(list, value);
    }
    return g_steal_pointer(&list);
}

void schema_refuse_alternate(const char *name, const char *type, GError **errp)
{
    tm_error_set(errp, "Invalid parameter type for '%s', expected: %s", name ? name : "null", type);
}

bool schema_refuse_arguments(const json_t *args, GError **errp)
{
    const SchemaFrame root = {0};
    g_auto(SchemaFrame) frame = {0};

    return schema_enter_object(&frame, &root, NULL, args, errp) &&
           schema_leave_object(&frame, errp);
}
