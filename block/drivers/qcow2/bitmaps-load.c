/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bitmaps when an image is opened, and when it becomes writable; see bitmaps.h.
 *
 * Everything in the directory comes from a stranger.  Bounded: the directory's size and count
 * (QEMU's bounds), and what is read of tables and data of all bitmaps together (no more than the
 * file has, and LOAD_MAX).
 */
#include <errno.h>

#include "block/drivers/drivers.h"
#include "block/drivers/qcow2/bitmap-data.h"
#include "block/drivers/qcow2/bitmaps-int.h"
#include "block/node-bitmaps.h"
#include "util/error.h"
#include "util/range.h"

#define LOAD_MAX (INT64_C(4) << 30)
#define DEFAULT_GRANULARITY_BITS 16 /* of a bitmap whose own is nonsense */

typedef struct Loader {
    BlockNode *node;
    GHashTable *names; /* of the bitmaps made so far, not owned */
    int64_t budget;    /* bytes of tables and data that may still be read */
} Loader;

/* --- the directory --- */

static bool check_directory(const BlockNode *node, GError **errp)
{
    const Qcow2State *s = qcow2_state(node);
    const Qcow2BitmapsExt *ext = &s->header.bitmaps;

    if (ext->count > QCOW2_MAX_BITMAPS) {
        return tm_error_set(errp,
                            "bitmaps_ext: image has %u bitmaps, exceeding the QEMU supported "
                            "maximum of %d",
                            ext->count, QCOW2_MAX_BITMAPS);
    }
    if (ext->directory_size == 0 || ext->directory_size > QCOW2_MAX_BITMAP_DIRECTORY_BYTES) {
        return tm_error_set(errp, "bitmaps_ext: invalid bitmap directory size (%" PRIu64 ")",
                            ext->directory_size);
    }
    if (ext->directory_offset == 0 || !is_aligned(ext->directory_offset, s->cluster_size) ||
        ext->directory_offset > INT64_MAX ||
        !range_valid(ext->directory_offset, ext->directory_size, node->file->node->size)) {
        return tm_error_set(errp, "bitmaps_ext: invalid bitmap directory offset (0x%" PRIx64 ")",
                            ext->directory_offset);
    }
    return true;
}

static GPtrArray *co_read_directory(BlockNode *node, GError **errp)
{
    const Qcow2BitmapsExt *ext = &qcow2_state(node)->header.bitmaps;
    GPtrArray *entries = NULL;
    uint8_t *buf;
    int ret;

    if (!check_directory(node, errp)) {
        return NULL;
    }
    buf = g_try_malloc(ext->directory_size);
    ret = buf ? co_qcow2_read_file(node, ext->directory_offset, buf, ext->directory_size) : -ENOMEM;
    if (ret < 0) {
        tm_error_set_errno(errp, -ret, "Failed to read bitmap directory");
    } else {
        entries = qcow2_bitmap_directory_decode(buf, ext->directory_size, ext->count, errp);
    }
    g_free(buf);
    return entries;
}

/*
 * A directory that nobody can read gets no in-use flags: were it left in force, whoever mends it
 * would trust bitmaps that have missed writes.
 */
static bool co_forget_directory(BlockNode *node, GError **errp)
{
    Qcow2Header *header = &qcow2_state(node)->header;
    int ret;

    header->bitmaps = (Qcow2BitmapsExt){0};
    header->autoclear &= ~QCOW2_BITMAPS;
    ret = co_qcow2_header_write(node);
    if (ret == 0) {
        ret = co_qcow2_flush_files(node);
    }
    return ret == 0 || tm_error_set_errno(errp, -ret, "Can't update bitmap directory");
}

static bool co_directory_damaged(BlockNode *node, GError *damage, GError **errp)
{
    g_warning("Node '%s': %s; the image's bitmaps are lost", node->name, damage->message);
    g_error_free(damage);
    return !qcow2_writable(node) || co_forget_directory(node, errp);
}

/* --- one bitmap --- */

/* As the node shows it: whole sectors. */
static int64_t disk_size(const BlockNode *node)
{
    return align_down(qcow2_state(node)->header.size, BLOCK_SECTOR);
}

static void warn_unusable(const BlockNode *node, const Qcow2BitmapEntry *entry, const char *why)
{
    g_autofree char *name = g_utf8_make_valid(entry->name, strlen(entry->name));

    g_warning("Node '%s': bitmap '%s' cannot be used: %s", node->name, name, why);
}

static bool is_shown(const Loader *loader, const Qcow2BitmapEntry *entry)
{
    const char *why = NULL;

    if (!qcow2_bitmap_name_is_text(entry)) {
        why = "its name is no text";
    } else if (entry->name_len > QCOW2_MAX_BITMAP_NAME) {
        why = "its name is too long";
    } else if (g_hash_table_contains(loader->names, entry->name)) {
        why = "there is another one of that name";
    }
    if (why) {
        warn_unusable(loader->node, entry, why);
    }
    return !why;
}

static DirtyBitmap *new_bitmap(const BlockNode *node, const Qcow2BitmapEntry *entry)
{
    unsigned bits = entry->granularity_bits;
    DirtyBitmap *bitmap;

    if (bits < QCOW2_MIN_BITMAP_GRANULARITY_BITS || bits > QCOW2_MAX_BITMAP_GRANULARITY_BITS) {
        bits = DEFAULT_GRANULARITY_BITS;
    }
    bitmap = dirty_bitmap_new(entry->name, disk_size(node), 1u << bits);
    dirty_bitmap_set_persistent(bitmap, true);
    return bitmap;
}

/* Reads the bits; false where the bitmap cannot be used, with a warning. */
static bool co_load_bits(Loader *loader, Qcow2BitmapEntry *entry, DirtyBitmap *bitmap)
{
    const Qcow2State *s = qcow2_state(loader->node);
    g_autoptr(GError) error = NULL;
    int ret;

    if (!qcow2_bitmap_entry_check(entry, disk_size(loader->node), s->cluster_size, &error)) {
        warn_unusable(loader->node, entry, error->message);
        entry->damaged = true;
        return false;
    }
    if (entry->flags & QCOW2_BITMAP_IN_USE) {
        return false; /* nothing to warn of: queries show it */
    }
    ret = co_qcow2_bitmap_read(loader->node, entry, bitmap, &loader->budget);
    if (ret < 0) {
        warn_unusable(loader->node, entry, g_strerror(-ret));
        entry->damaged = true;
    }
    return ret == 0;
}

static void co_load_one(Loader *loader, Qcow2BitmapEntry *entry)
{
    DirtyBitmap *bitmap;

    if (!is_shown(loader, entry)) {
        return;
    }
    bitmap = new_bitmap(loader->node, entry);
    if (!co_load_bits(loader, entry, bitmap)) {
        dirty_bitmap_clear_all(bitmap, NULL);
        dirty_bitmap_set_inconsistent(bitmap);
    } else if (!(entry->flags & QCOW2_BITMAP_AUTO)) {
        dirty_bitmap_disable(bitmap);
    }
    block_node_bitmap_put_back(loader->node, bitmap);
    g_hash_table_add(loader->names, (gpointer)dirty_bitmap_name(bitmap));
}

static void co_load_all(BlockNode *node)
{
    const GPtrArray *entries = qcow2_bitmaps_list(node);
    Loader loader = {
        .node = node,
        .names = g_hash_table_new(g_str_hash, g_str_equal),
        .budget = MIN(node->file->node->size, LOAD_MAX),
    };

    for (guint i = 0; i < entries->len; i++) {
        co_load_one(&loader, entries->pdata[i]);
    }
    g_hash_table_unref(loader.names);
}

/* --- in use --- */

/*
 * Will the file's copy be out of date from now on?  That of a bitmap which cannot be used is, where
 * it should record; one that is disabled (and perhaps of a kind that we don't know) stays true.
 */
static bool goes_out_of_date(const BlockNode *node, const Qcow2BitmapEntry *entry)
{
    const DirtyBitmap *bitmap =
        qcow2_bitmap_name_is_text(entry) ? block_node_bitmap_find(node, entry->name) : NULL;

    return !(entry->flags & QCOW2_BITMAP_IN_USE) &&
           ((entry->flags & QCOW2_BITMAP_AUTO) || (bitmap && !dirty_bitmap_inconsistent(bitmap)));
}

static int co_mark_in_use(BlockNode *node)
{
    GPtrArray *entries = qcow2_bitmaps_copy(node);
    bool change = false;

    for (guint i = 0; i < entries->len; i++) {
        Qcow2BitmapEntry *entry = entries->pdata[i];

        if (goes_out_of_date(node, entry)) {
            entry->flags |= QCOW2_BITMAP_IN_USE;
            change = true;
        }
    }
    if (!change) {
        g_ptr_array_unref(entries);
        return 0;
    }
    return co_qcow2_bitmaps_replace(node, entries);
}

bool co_qcow2_bitmaps_activate(BlockNode *node, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    int ret;

    if (!s->bitmaps) {
        /* One that could not be read was left alone while nobody wrote. */
        return !(s->header.autoclear & QCOW2_BITMAPS) || co_forget_directory(node, errp);
    }
    co_mutex_lock(&s->lock);
    ret = co_mark_in_use(node);
    co_mutex_unlock(&s->lock);
    if (ret < 0) {
        return tm_error_set_errno(errp, -ret, "Can't update bitmap directory");
    }
    qcow2_bitmaps_set_readonly(node, false);
    return true;
}

bool co_qcow2_bitmaps_load(BlockNode *node, GError **errp)
{
    const Qcow2Header *header = &qcow2_state(node)->header;
    GError *damage = NULL;
    GPtrArray *entries;

    if (header->bitmaps.count == 0) {
        /* There are none, or the extension was of no use; then the file still calls it valid. */
        return !(header->autoclear & QCOW2_BITMAPS) || !qcow2_writable(node) ||
               co_forget_directory(node, errp);
    }
    entries = co_read_directory(node, &damage);
    if (!entries) {
        return co_directory_damaged(node, damage, errp);
    }
    qcow2_bitmaps_set(node, entries);
    co_load_all(node);
    if (!qcow2_writable(node)) {
        qcow2_bitmaps_set_readonly(node, true);
        return true;
    }
    return co_qcow2_bitmaps_activate(node, errp);
}
