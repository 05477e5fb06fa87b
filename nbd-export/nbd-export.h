/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The NBD kind of export: what is served under one name, and where its sessions run. */
#ifndef NBD_EXPORT_NBD_EXPORT_H
#define NBD_EXPORT_NBD_EXPORT_H

#include <pthread.h>

#include "bitmap/dirty-bitmap.h"
#include "block/export.h"
#include "nbd-export/buffer-pool.h"
#include "nbd-export/meta-context.h"

typedef struct NbdSession NbdSession;

typedef struct NbdExport {
    Export base;
    /* Constant while it can be found by name. */
    char *name;
    char *description;  /* or NULL */
    int64_t size;       /* bytes; the node's at the time of creation: it cannot change meanwhile */
    uint16_t flags;     /* transmission flags, without SEND_DF, which each session adds */
    uint64_t serial;    /* tells it from an earlier export of that name */
    GArray *contexts;   /* of NbdContext */
    GPtrArray *bitmaps; /* of DirtyBitmap, marked busy */
    const DirtyBitmap *only_dirty; /* the one outside of which reads fail, or NULL */

    /*
     * Where sessions run. Under lock, since a session may come while the graph moves.  (It is no
     * GMutex, which ThreadSanitizer cannot follow.)
     */
    pthread_mutex_t lock;
    Loop *loop;         /* of the graph; NULL on the way from one to the next */
    bool closing;       /* no session may come */
    unsigned arriving;  /* sessions on their way to loop */
    GPtrArray *waiting; /* of Co: they come when loop is known again */

    /* Graph's loop. */
    NbdSession *sessions;         /* those that run on it */
    NbdBufferStore buffers;       /* theirs */
    CoQueue left;                 /* woken when one has left or arrived */
    int64_t data_start, data_end; /* known to be data; a hint that cannot do harm */
} NbdExport;

extern const ExportDriver nbd_export_driver;

static inline NbdExport *nbd_export(Export *export)
{
    return (NbdExport *)export; /* its first member */
}

/*
 * Brings the running coroutine to the loop of the export's graph (waiting for the end of a move)
 * and puts @session into its list.  False, on any loop, when the export goes away.
 */
bool co_nbd_export_enter(NbdExport *export, NbdSession *session);

/* The reverse, on the graph's loop: the caller must go to another loop at its next yield. */
void nbd_export_leave(NbdExport *export, NbdSession *session);

#endif
