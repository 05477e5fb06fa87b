/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests of blockdev-reopen: a call from JSON, and what a call that fails may not change. */
#ifndef TESTS_UNIT_REOPEN_UTIL_H
#define TESTS_UNIT_REOPEN_UTIL_H

#include <stdlib.h>

#include "block/node-bitmaps.h"
#include "block/reopen.h"
#include "tests/unit/block-util.h"

/* --- images ------------------------------------------------------------------------------- */

static char *folder;

static inline void run(const char *format, ...) G_GNUC_PRINTF(1, 2);
static inline void run(const char *format, ...)
{
    g_autofree char *command = NULL;
    va_list ap;

    va_start(ap, format);
    command = g_strdup_vprintf(format, ap);
    va_end(ap);
    g_assert_cmpint(system(command), ==, 0);
}

static inline char *path_of(const char *name)
{
    return g_build_filename(folder, name, NULL);
}

static inline void make_folder(void)
{
    folder = g_dir_make_tmp("tidemark-reopen-XXXXXX", NULL);
}

static inline void remove_folder(void)
{
    run("rm -r %s", folder);
    g_free(folder);
}

/* --- loops -------------------------------------------------------------------------------- */

static inline Loop *start_loop(void)
{
    GError *error = NULL;
    Loop *loop = loop_new("io", &error);

    g_assert_no_error(error);
    g_assert_true(loop_start_thread(loop, &error));
    return loop;
}

/* --- calls -------------------------------------------------------------------------------- */

/* The reopening of the nodes in a JSON list; single quotes stand for double ones. */
static inline bool co_try_reopen(const char *list, GError **errp)
{
    g_autoptr(GPtrArray) all =
        g_ptr_array_new_with_free_func((GDestroyNotify)BlockdevOptions_free);
    g_autofree char *text = g_strdelimit(g_strdup(list), "'", '"');
    json_t *json = json_loads(text, 0, NULL), *options;
    size_t i;

    g_assert_nonnull(json);
    json_array_foreach(json, i, options) {
        GError *error = NULL;

        g_ptr_array_add(all, BlockdevOptions_parse(options, NULL, &error));
        g_assert_no_error(error);
    }
    json_decref(json);
    return co_block_reopen(all, errp);
}

static inline void co_reopen(const char *format, ...) G_GNUC_PRINTF(1, 2);
static inline void co_reopen(const char *format, ...)
{
    g_autofree char *list = NULL;
    GError *error = NULL;
    va_list ap;

    va_start(ap, format);
    list = g_strdup_vprintf(format, ap);
    va_end(ap);
    co_try_reopen(list, &error);
    g_assert_no_error(error);
}

static inline void describe_edges(GString *text, const BlockNode *node)
{
    for (guint i = 0; i < node->children->len; i++) {
        const BlockChild *child = node->children->pdata[i];

        g_string_append_printf(text, " %s=%s(%x,%x,%x)", child->name, child->node->name,
                               child->role, child->perm, child->shared);
    }
}

static inline void describe_bitmaps(GString *text, const BlockNode *node)
{
    for (guint i = 0; i < node->bitmaps->len; i++) {
        const DirtyBitmap *bitmap = node->bitmaps->pdata[i];

        g_string_append_printf(text, " bitmap %s%s", dirty_bitmap_name(bitmap),
                               dirty_bitmap_readonly(bitmap) ? " (read-only)" : "");
    }
}

static inline void describe_options(GString *text, const BlockNode *node)
{
    json_t *json = BlockdevOptions_to_json(node->given);
    char *given = json_dumps(json, JSON_SORT_KEYS);
    const BlockOptions *o = &node->options;

    g_string_append_printf(text, " %d%d%d%d%d%d %d of %s", o->read_only, o->auto_read_only,
                           o->cache_direct, o->cache_no_flush, o->discard_unmap, o->force_share,
                           o->detect_zeroes, given);
    free(given);
    json_decref(json);
}

/* An image file grows while it is written. */
static inline void describe_node(GString *text, const BlockNode *node)
{
    bool grows = node->driver->is_protocol && (node->perm & BLOCK_PERM_RESIZE);
    int64_t size = grows ? 0 : block_node_size(node);

    g_string_append_printf(text, "%s on %s, perm %x %x, refs %u, size %" PRId64 "/%u, in %s:",
                           node->name, loop_name(node->loop), node->perm, node->shared,
                           node->refcount, size, node->limits.request_alignment,
                           node->inherits_from ? node->inherits_from->name : "-");
    describe_options(text, node);
    describe_edges(text, node);
    describe_bitmaps(text, node);
    g_string_append_c(text, '\n');
}

/* All nodes as they are; the caller frees it. */
static inline char *describe_house(void)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < block_nodes()->len; i++) {
        describe_node(text, block_nodes()->pdata[i]);
    }
    return g_string_free(text, false);
}

/* Says which node changed. */
static inline void assert_same_house(const char *before, const char *after)
{
    g_auto(GStrv) old = g_strsplit(before, "\n", -1), now = g_strsplit(after, "\n", -1);

    for (guint i = 0; old[i] && now[i]; i++) {
        g_assert_cmpstr(now[i], ==, old[i]);
    }
    g_assert_cmpuint(g_strv_length(now), ==, g_strv_length(old));
}

/* A call that fails with a message like @pattern (a glob) and changes nothing. */
static inline void co_reopen_refused(const char *pattern, const char *format, ...)
    G_GNUC_PRINTF(2, 3);
static inline void co_reopen_refused(const char *pattern, const char *format, ...)
{
    g_autofree char *before = describe_house(), *after = NULL, *list = NULL;
    g_autoptr(GError) error = NULL;
    va_list ap;

    va_start(ap, format);
    list = g_strdup_vprintf(format, ap);
    va_end(ap);
    if (co_try_reopen(list, &error)) {
        g_error("not refused: %s", list);
    }
    if (!g_pattern_match_simple(pattern, error->message)) {
        g_error("%s: '%s' is not like '%s'", list, error->message, pattern);
    }
    after = describe_house();
    assert_same_house(before, after);
}

#endif
