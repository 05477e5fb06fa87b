/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a driver or a filter implements.
 *
 * A missing I/O operation passes through to node->file in a filter and means "not supported"
 * elsewhere (-ENOTSUP; a missing co_flush means nothing to flush; a missing co_block_status means
 * all data).  Operations are called only by the gate (block/node-io.c), which has checked range
 * (0 <= offset, offset + bytes <= node->size rounded up to the request alignment), alignment
 * (node->limits), sizes and permissions; they run on node->loop, in a coroutine, many at a time.
 * They reach their children through the gate (co_block_read(node->file, …)).
 */
#ifndef BLOCK_DRIVER_H
#define BLOCK_DRIVER_H

#include "block/check-result.h"
#include "block/node.h"
#include "util/io-slice.h"

/* What block status knows of a run of bytes. */
typedef enum BlockStatusFlags {
    BLOCK_STATUS_DATA = 0x01,         /* reads come from storage that is allocated */
    BLOCK_STATUS_ZERO = 0x02,         /* reads as zeroes */
    BLOCK_STATUS_OFFSET_VALID = 0x04, /* stored at .map of node .file, raw */
    BLOCK_STATUS_ALLOCATED = 0x08,    /* this layer decides, not a backing file */
    BLOCK_STATUS_RECURSE = 0x10,      /* the gate is to look for zeroes in .file/.map */
    BLOCK_STATUS_RAW = 0x20,          /* the answer is wholly that of .file at .map */
} BlockStatusFlags;

typedef struct BlockStatus {
    unsigned flags;  /* BlockStatusFlags */
    int64_t bytes;   /* run length from the offset asked for, 1..bytes asked */
    int64_t map;     /* with OFFSET_VALID or RAW */
    BlockNode *file; /* the node that .map refers to */
    unsigned depth;  /* set by the gate: the layer of a backing chain that has it; 0: none */
} BlockStatus;

/* Operations on images as files; each may be NULL. */
typedef struct BlockImageOps {
    /* Sets the node's size; @exact: not larger because of rounding.  May yield. */
    int (*co_truncate)(BlockNode *node, int64_t size, bool exact, PreallocMode prealloc,
                       GError **errp);
    /* Bytes allocated on the host, or -errno; for query-named-block-nodes ("actual-size"). */
    int64_t (*co_allocated_size)(BlockNode *node);
    /*
     * Makes a new image; no node is involved yet but those that @options name.  Loop 0, control
     * lock not held.
     */
    bool (*co_create)(const BlockdevCreateOptions *options, GError **errp);
    /*
     * Checks the image, and mends it by @fix (BLOCK_FIX_…).  Nothing else uses the node.  0 or
     * -errno where the check could not be done; @stop may be NULL.
     */
    int (*co_check)(BlockNode *node, unsigned fix, BlockCheckResult *result,
                    BlockCheckStopFn *stop, void *opaque);
    /* Bytes in which the image allocates space.  Any loop; must not yield. */
    int64_t (*cluster_size)(const BlockNode *node);
    /*
     * Adds what the format has to tell: clusters, flags, the backing file's name, format-specific.
     * Loop 0, without the control lock, while requests run: must not yield.
     */
    void (*fill_info)(const BlockNode *node, ImageInfo *info);
    /*
     * The node becomes read-only: puts all that the driver holds into the image, persistent bitmaps
     * too, as closing does.  Node's loop, drained.  Missing: bitmaps are stored, and it is flushed.
     */
    int (*co_inactivate)(BlockNode *node);
    /* Names another backing file (NULL: none) in the image.  Node's loop, drained.  -errno. */
    int (*co_set_backing_name)(BlockNode *node, const char *name, const char *format);
} BlockImageOps;

/*
 * Storage for persistent bitmaps.  A driver without it cannot have them.  Stored ones are loaded by
 * co_open, and stored again by co_close.  All but can_store run on node->loop, drained.
 */
typedef struct BlockBitmapOps {
    /* May there be a new persistent bitmap of that name?  Loop 0; must not yield.  QEMU's words. */
    bool (*can_store)(const BlockNode *node, const char *name, uint32_t granularity,
                      GError **errp);
    /* Takes a bitmap out of the image at once; one that is not there (yet) is no error. */
    bool (*co_remove)(BlockNode *node, const char *name, GError **errp);
    /*
     * Stores them all; from then on they are read-only.  For nodes that become read-only, or that
     * somebody else takes over.  0 or -errno, with a warning for each that could not be stored.
     */
    int (*co_store)(BlockNode *node);
    /* The reverse: the image (writable now) is told that they are in use, and they record again. */
    bool (*co_activate)(BlockNode *node, GError **errp);
} BlockBitmapOps;

/*
 * Permission changes that can be refused (image locks): check prepares, then either commit or
 * abort. Loop 0, graph drained or not yet used; must not yield.
 */
typedef struct BlockPermOps {
    bool (*check)(BlockNode *node, unsigned perm, unsigned shared, GError **errp);
    void (*commit)(BlockNode *node, unsigned perm, unsigned shared);
    void (*abort)(BlockNode *node);
} BlockPermOps;

/*
 * Leaving one loop and joining another; the graph is drained.  Called on the old and the new loop.
 */
typedef struct BlockLoopOps {
    void (*co_detach)(BlockNode *node);
    void (*co_attach)(BlockNode *node);
} BlockLoopOps;

/*
 * Changing the options of a live node (block/reopen.h).  A driver without it refuses.  Loop 0, the
 * node's graph drained; node->options and the edges are the new ones already, the children's own
 * changes come after co_prepare and before co_commit.
 */
typedef struct BlockReopenOps {
    const char *const *options; /* the driver's own that may change; NULL-terminated; or NULL */
    /*
     * Puts what the driver holds into its children, before their edges change; it stays writable.
     * (One that becomes read-only is inactivated instead.)  Node's loop.  -errno.  NULL: nothing.
     */
    int (*co_settle)(BlockNode *node);
    /*
     * Makes ready, from @given (typed as for co_open; what is absent is the default) and the common
     * options @before.  *state goes to commit or abort, and is theirs to free.  On failure nothing
     * changed.  NULL: nothing to do.
     */
    bool (*co_prepare)(BlockNode *node, const BlockdevOptions *given, const BlockOptions *before,
                       void **state, GError **errp);
    void (*co_commit)(BlockNode *node, void *state);
    void (*co_abort)(BlockNode *node, void *state);
} BlockReopenOps;

struct BlockDriver {
    BlockdevDriver id;
    size_t state_size;
    bool is_filter;     /* shows the data of node->file, and passes through what it does not have */
    bool is_protocol;   /* reaches bytes itself, without a child (file, null-co, nbd) */
    bool supports_backing; /* may have a child "backing" (BLOCK_ROLE_COW) */

    /*
     * Opens the node: options (typed by the schema, options->u.NAME) are valid for the call only.
     * Opens children with co_block_open_child().  On failure undoes what it did (children are
     * dropped by the caller).  A protocol sets node->filename.
     */
    bool (*co_open)(BlockNode *node, const BlockdevOptions *options, GError **errp);
    void (*co_close)(BlockNode *node); /* children still attached; no request in flight */

    int (*co_read)(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags);
    /* @flags holds BLOCK_FUA only where supports_fua. */
    int (*co_write)(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags);
    /* -ENOTSUP makes the gate write zero buffers (unless BLOCK_NO_FALLBACK). */
    int (*co_write_zeroes)(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags);
    /* -ENOTSUP is taken for success by the gate. */
    int (*co_discard)(BlockNode *node, int64_t offset, int64_t bytes);
    int (*co_flush)(BlockNode *node);
    /* @want_zero: exact zeroes matter more than speed. status->bytes in, out: see BlockStatus. */
    int (*co_block_status)(BlockNode *node, bool want_zero, int64_t offset, int64_t bytes,
                           BlockStatus *status);
    /*
     * A copy by the host.  From: passes it on to its child, or, where the bytes are, to the target
     * (co_block_copy_range_to()).  To: passes it on to its child, or does it.  Missing: -ENOTSUP,
     * for a filter too, which may have to see the data.
     */
    int (*co_copy_range_from)(BlockNode *node, int64_t offset, BlockChild *target,
                              int64_t target_offset, int64_t bytes);
    int (*co_copy_range_to)(BlockNode *node, int64_t offset, BlockNode *source,
                            int64_t source_offset, int64_t bytes);
    int64_t (*co_get_size)(BlockNode *node); /* missing: that of node->file */
    void (*refresh_limits)(BlockNode *node); /* after the children's limits were merged in */
    /*
     * What the node needs of @child when its own parents need @perm and share @shared.  Missing:
     * filters and formats have QEMU's defaults by role (block_default_child_perm()).
     */
    void (*child_perm)(BlockNode *node, BlockChild *child, unsigned role, unsigned perm,
                       unsigned shared, unsigned *child_perm, unsigned *child_shared);

    /*
     * Adds what the driver has to tell of its work.  Loop 0, without the control lock, while
     * requests run: must not yield.
     */
    void (*fill_info)(const BlockNode *node, BlockDeviceInfo *info);
    /*
     * Puts away what the node has in memory, so that co_close need not: begins or goes on with it,
     * and does not wait.  True when nothing is left.  The node's loop, control lock.
     */
    bool (*settle)(BlockNode *node);

    unsigned supports_write_flags;        /* BLOCK_FUA: else the gate flushes after the write */
    unsigned supports_write_zeroes_flags; /* BLOCK_FUA, BLOCK_MAY_UNMAP, BLOCK_NO_FALLBACK */

    const BlockImageOps *image;
    const BlockBitmapOps *bitmaps;
    const BlockPermOps *perm;
    const BlockLoopOps *loop;
    const BlockReopenOps *reopen;

    /* A step of the gate's work that rules of blkdebug may ask for; may be NULL. */
    void (*event)(BlockNode *node, BlkdebugEvent event);
};

/*
 * Makes a driver known; for built-in ones called by block_drivers_register() (drivers/register.c).
 */
void block_driver_register(const BlockDriver *driver);
const BlockDriver *block_driver_find(BlockdevDriver id);
void block_drivers_register(void);

/*
 * Opens or finds the child that @ref describes and attaches it under @name with @role.  An inline
 * definition inherits cache, read-only, force-share (and auto-read-only, discard for protocols) as
 * in QEMU.  Sets node->file where @role has BLOCK_ROLE_PRIMARY or FILTERED.  Errors name the
 * option.
 */
BlockChild *co_block_open_child(BlockNode *node, const BlockdevRef *ref, const char *name,
                                unsigned role, GError **errp);

/*
 * QEMU's rules by role: filters pass permissions on, image files are written only by their format.
 */
void block_default_child_perm(BlockNode *node, BlockChild *child, unsigned role, unsigned perm,
                              unsigned shared, unsigned *child_perm, unsigned *child_shared);

#endif
