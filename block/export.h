/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Exports: users of a node that serve it to clients outside of the process.
 *
 * This part is common to all kinds: the table of exports by id, the root edge with its permissions,
 * the loop, drain, and the way an export goes: it is shut down (takes no client, drops those it
 * has), lives on until its last client has left, and is then deleted and announced.  What a kind
 * does itself is in its ExportDriver.
 */
#ifndef BLOCK_EXPORT_H
#define BLOCK_EXPORT_H

#include "block/user.h"

typedef struct Export Export;

typedef struct ExportDriver {
    BlockExportType type;
    size_t size;           /* of the kind's own struct, whose first member is an Export */
    const char *type_name; /* in messages: "NBD" */

    /* Checks before anything is touched: what makes co_create() pointless.  May be NULL. */
    bool (*check)(const BlockExportOptions *options, GError **errp);
    /* Begins to serve; export->child is attached.  On failure undoes what it did. */
    bool (*co_create)(Export *export, const BlockExportOptions *options, GError **errp);
    /* Takes no new client, and makes those there are leave, soon, without waiting for it. */
    void (*co_request_shutdown)(Export *export);
    /* The last client has left: gives back what co_create() took. */
    void (*co_delete)(Export *export);

    /* Drain has ended: requests may begin again.  Graph's loop, must not yield. */
    void (*resume)(Export *export);
    /* The drained graph moves: as in BlockUserOps. */
    void (*co_detach)(Export *export);
    void (*co_attach)(Export *export, Loop *loop);
} ExportDriver;

struct Export {
    const ExportDriver *driver;
    char *id;
    BlockUser *user;
    BlockChild *child; /* the root edge */
    bool writable;
    bool writethrough; /* each write is on stable storage before its reply */

    /* Loop 0 */
    bool shutting_down;
    unsigned clients; /* export_client_begin() .. co_export_client_end() */

    /* Graph's loop */
    bool quiesced;      /* drained: no request may begin */
    unsigned in_flight; /* requests that have begun and not ended */
};

/* Makes a kind known; once, at the start. */
void export_driver_register(const ExportDriver *driver);

/*
 * Makes an export and puts it into the table.  @iothread (may be NULL): the loop to which the graph
 * is moved; only with fixed-iothread is it an error that it cannot.  Loop 0, control lock held.
 */
Export *co_export_add(const BlockExportOptions *options, Loop *iothread, GError **errp);

/* The export of that id, or NULL.  Loop 0. */
Export *export_find(const char *id);

/* All exports, the oldest first; of Export, not owned.  Loop 0. */
const GPtrArray *export_list(void);

/*
 * Removes an export: without @hard only if it has no client.  An export with clients goes when the
 * last one has left; else it is gone when this returns.  Loop 0, control lock held.
 */
bool co_export_del(const char *id, bool hard, GError **errp);

/*
 * Removes all exports of @driver's kind (NULL: of all kinds) and waits until they are gone.  Loop
 * 0, control lock NOT held: a client's last requests may need it to end.
 */
void co_export_remove_all(const ExportDriver *driver);

/* A client uses the export (it stays until the client has ended).  Loop 0; end may yield. */
void export_client_begin(Export *export);
void co_export_client_end(Export *export);

/* Brackets of a request, between which drain waits.  Begin only while !quiesced.  Graph's loop. */
static inline void export_request_begin(Export *export)
{
    g_assert(!export->quiesced);
    export->in_flight++;
}

static inline void export_request_end(Export *export)
{
    if (--export->in_flight == 0 && export->quiesced) {
        block_user_drain_progress(export->user);
    }
}

#endif
