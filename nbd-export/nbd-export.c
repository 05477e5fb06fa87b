/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The NBD kind of export; see nbd-export.h. */
#include "nbd-export/nbd-export.h"

#include "block/control.h"
#include "block/node-bitmaps.h"
#include "nbd-export/protocol.h"
#include "nbd-export/server.h"
#include "nbd-export/session.h"
#include "util/error.h"

/* --- Where sessions run --- */

static void link_session(NbdExport *export, NbdSession *session)
{
    session->next = export->sessions;
    session->prev = &export->sessions;
    if (session->next) {
        session->next->prev = &session->next;
    }
    export->sessions = session;
    session->on_loop = true;
    session->buffers.store = &export->buffers;
}

/* The loop of the graph, which waits for us from now on; NULL when the export goes away. */
static Loop *co_next_home(NbdExport *export)
{
    Loop *loop = NULL;
    bool wait;

    do {
        pthread_mutex_lock(&export->lock);
        wait = !export->loop && !export->closing;
        if (wait) {
            g_ptr_array_add(export->waiting, co_self());
        } else if (!export->closing) {
            loop = export->loop;
            export->arriving++;
        }
        pthread_mutex_unlock(&export->lock);
        if (wait) {
            co_yield ();
        }
    } while (wait);
    return loop;
}

/* On the loop: has the graph left it, or begun to, while we were on the way? */
static bool arrive(NbdExport *export, NbdSession *session)
{
    bool home;

    pthread_mutex_lock(&export->lock);
    export->arriving--;
    home = export->loop == loop_current() && !export->closing;
    pthread_mutex_unlock(&export->lock);
    if (home) {
        link_session(export, session);
    }
    co_queue_wake_all(&export->left);
    return home;
}

bool co_nbd_export_enter(NbdExport *export, NbdSession *session)
{
    Loop *loop;

    while ((loop = co_next_home(export))) {
        co_move(loop);
        if (arrive(export, session)) {
            return true;
        }
    }
    return false;
}

void nbd_export_leave(NbdExport *export, NbdSession *session)
{
    *session->prev = session->next;
    if (session->next) {
        session->next->prev = session->prev;
    }
    session->on_loop = false;
    session->buffers.store = NULL;
    co_queue_wake_all(&export->left);
}

/* Sets where sessions run; those that wait for it come. */
static void set_home(NbdExport *export, Loop *loop, bool closing)
{
    g_autoptr(GPtrArray) waiting = NULL;

    pthread_mutex_lock(&export->lock);
    export->loop = loop;
    export->closing |= closing;
    waiting = g_steal_pointer(&export->waiting);
    export->waiting = g_ptr_array_new();
    pthread_mutex_unlock(&export->lock);
    for (unsigned i = 0; i < waiting->len; i++) {
        co_wake(waiting->pdata[i]);
    }
}

static void nbd_resume(Export *base)
{
    for (NbdSession *s = nbd_export(base)->sessions; s; s = s->next) {
        nbd_session_resume(s);
    }
}

static bool has_guests(NbdExport *export)
{
    bool arriving;

    pthread_mutex_lock(&export->lock);
    arriving = export->arriving > 0;
    pthread_mutex_unlock(&export->lock);
    return arriving || export->sessions;
}

/*
 * Sessions leave now, and come when the graph has a loop again. When this returns none is on the
 * loop or on its way there, so that its thread may be ended.
 */
static void co_nbd_detach(Export *base)
{
    NbdExport *export = nbd_export(base);

    set_home(export, NULL, false);
    for (NbdSession *s = export->sessions; s; s = s->next) {
        nbd_session_ask_to_leave(s);
    }
    while (has_guests(export)) {
        co_queue_wait(&export->left);
    }
}

static void co_nbd_attach(Export *base, Loop *loop)
{
    set_home(nbd_export(base), loop, false);
}

/* --- Bitmaps --- */

/* What a node is stacked on: what it filters, or its backing file; NULL: neither. */
static BlockNode *node_below(const BlockNode *node)
{
    for (unsigned i = 0; i < node->children->len; i++) {
        const BlockChild *child = node->children->pdata[i];

        if (child->role & (BLOCK_ROLE_FILTERED | BLOCK_ROLE_COW)) {
            return child->node;
        }
    }
    return NULL;
}

/* The bitmap of a node or of what it is stacked on. */
static DirtyBitmap *find_in_chain(BlockNode *node, const char *name, BlockNode **owner)
{
    for (; node; node = node_below(node)) {
        DirtyBitmap *bitmap = block_node_bitmap_find(node, name);

        if (bitmap) {
            *owner = node;
            return bitmap;
        }
    }
    return NULL;
}

static DirtyBitmap *look_up_bitmap(NbdExport *export, const BlockDirtyBitmapOrStr *ref,
                                   BlockNode **owner, GError **errp)
{
    DirtyBitmap *bitmap;

    if (ref->kind == BLOCK_DIRTY_BITMAP_OR_STR_KIND_EXTERNAL) {
        return block_bitmap_lookup(ref->u.external->node, ref->u.external->name, owner, errp);
    }
    bitmap = find_in_chain(export->base.child->node, ref->u.local, owner);
    if (!bitmap) {
        tm_error_set(errp, "Bitmap '%s' is not found", ref->u.local);
    }
    return bitmap;
}

/*
 * A client of a read-only export expects that what it asks about stands still.  As in QEMU that is
 * left to who names a bitmap by its node: of a frozen view of that node, say, the map is right
 * though the bitmap goes on.  Bits only come while it is busy, so that at any moment it calls dirty
 * what was dirty at the instant, and some more.
 */
static bool check_bitmap(const NbdExport *export, const DirtyBitmap *bitmap, const BlockNode *owner,
                         bool by_node, GError **errp)
{
    if (!dirty_bitmap_check(bitmap, DIRTY_BITMAP_ALLOW_RO, errp)) {
        return false;
    }
    if (!by_node && !export->base.writable && dirty_bitmap_enabled(bitmap) &&
        !owner->options.read_only) {
        return tm_error_set(errp, "Enabled bitmap '%s' incompatible with readonly export",
                            dirty_bitmap_name(bitmap));
    }
    return true;
}

/* A root edge without permissions keeps the bitmap's node, and keeps it on the loop of the export.
 */
static bool co_hold_owner(NbdExport *export, BlockNode *owner, GError **errp)
{
    return owner == export->base.child->node ||
           co_block_user_attach(export->base.user, owner, "bitmap", 0, 0, BLOCK_PERM_ALL, errp);
}

static bool co_add_bitmap(NbdExport *export, const BlockDirtyBitmapOrStr *ref, GError **errp)
{
    bool by_node = ref->kind == BLOCK_DIRTY_BITMAP_OR_STR_KIND_EXTERNAL;
    BlockNode *owner;
    DirtyBitmap *bitmap = look_up_bitmap(export, ref, &owner, errp);

    if (!bitmap || !check_bitmap(export, bitmap, owner, by_node, errp) ||
        !co_hold_owner(export, owner, errp)) {
        return false;
    }
    dirty_bitmap_set_busy(bitmap, true);
    g_ptr_array_add(export->bitmaps, bitmap);
    return true;
}

static void release_bitmaps(NbdExport *export)
{
    for (unsigned i = 0; i < export->bitmaps->len; i++) {
        dirty_bitmap_set_busy(export->bitmaps->pdata[i], false);
    }
    g_ptr_array_set_size(export->bitmaps, 0);
}

static bool co_add_bitmaps(NbdExport *export, const GPtrArray *refs, GError **errp)
{
    for (unsigned i = 0; refs && i < refs->len; i++) {
        if (!co_add_bitmap(export, refs->pdata[i], errp)) {
            release_bitmaps(export);
            return false;
        }
    }
    return true;
}

static bool set_only_dirty(NbdExport *export, const char *name, GError **errp)
{
    for (unsigned i = 0; name && !export->only_dirty && i < export->bitmaps->len; i++) {
        const DirtyBitmap *bitmap = export->bitmaps->pdata[i];

        if (strcmp(dirty_bitmap_name(bitmap), name) == 0) {
            export->only_dirty = bitmap;
        }
    }
    if (name && !export->only_dirty) {
        release_bitmaps(export);
        return tm_error_set(errp,
                            "Option 'only-dirty': bitmap '%s' is not one of the export's "
                            "'bitmaps'",
                            name);
    }
    return true;
}

/* --- Life --- */

static const char *name_of(const BlockExportOptions *options)
{
    return options->u.nbd.name ? options->u.nbd.name : options->node_name;
}

static bool nbd_check(const BlockExportOptions *options, GError **errp)
{
    const char *name = name_of(options), *description = options->u.nbd.description;

    if (!nbd_server_running()) {
        return tm_error_set(errp, "NBD server not running");
    }
    if (strlen(name) > NBD_MAX_STRING) {
        return tm_error_set(errp, "export name '%s' too long", name);
    }
    if (description && strlen(description) > NBD_MAX_STRING) {
        return tm_error_set(errp, "description '%s' too long", description);
    }
    if (nbd_server_find(name)) {
        return tm_error_set(errp, "NBD server already has export named '%s'", name);
    }
    return true;
}

/* As QEMU: all connections share the node, so that a flush on one covers all. */
static uint16_t flags_of(const NbdExport *export)
{
    uint16_t flags =
        NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_CACHE;

    if (!nbd_server_single_connection()) {
        flags |= NBD_FLAG_CAN_MULTI_CONN;
    }
    return flags | (export->base.writable
                        ? NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO
                        : NBD_FLAG_READ_ONLY);
}

static void free_parts(NbdExport *export)
{
    g_free(export->name);
    g_free(export->description);
    nbd_buffers_clear(&export->buffers);
    g_clear_pointer(&export->contexts, g_array_unref);
    g_ptr_array_unref(export->bitmaps);
    g_ptr_array_unref(export->waiting);
    pthread_mutex_destroy(&export->lock);
}

static bool co_nbd_create(Export *base, const BlockExportOptions *options, GError **errp)
{
    const BlockExportOptionsNbd *nbd = &options->u.nbd;
    NbdExport *export = nbd_export(base);

    if (!nbd_check(options, errp)) { /* again: attaching the node has yielded */
        return false;
    }
    pthread_mutex_init(&export->lock, NULL);
    export->bitmaps = g_ptr_array_new();
    export->waiting = g_ptr_array_new();
    export->loop = base->child->node->loop;
    if (!co_add_bitmaps(export, nbd->bitmaps, errp) ||
        !set_only_dirty(export, nbd->only_dirty, errp)) {
        free_parts(export);
        return false;
    }
    export->loop = base->child->node->loop; /* a bitmap's node may have moved it */
    export->name = g_strdup(name_of(options));
    export->description = g_strdup(nbd->description);
    export->size = base->child->node->size;
    export->flags = flags_of(export);
    export->contexts =
        nbd_contexts_new(nbd->has_allocation_depth && nbd->allocation_depth, export->bitmaps);
    nbd_server_add_export(export);
    return true;
}

/* Holds the control lock, so the graph stays where it is. */
static void co_nbd_request_shutdown(Export *base)
{
    NbdExport *export = nbd_export(base);

    nbd_server_remove_export(export);
    set_home(export, export->loop, true);
    co_move(export->loop);
    for (NbdSession *s = export->sessions; s; s = s->next) {
        nbd_session_disconnect(s);
    }
    co_move(control_loop());
}

static void co_nbd_delete(Export *base)
{
    NbdExport *export = nbd_export(base);

    g_assert(!export->sessions);
    release_bitmaps(export);
    free_parts(export);
}

const ExportDriver nbd_export_driver = {
    .type = BLOCK_EXPORT_TYPE_NBD,
    .size = sizeof(NbdExport),
    .type_name = "NBD",
    .check = nbd_check,
    .co_create = co_nbd_create,
    .co_request_shutdown = co_nbd_request_shutdown,
    .co_delete = co_nbd_delete,
    .resume = nbd_resume,
    .co_detach = co_nbd_detach,
    .co_attach = co_nbd_attach,
};
