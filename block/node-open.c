/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening nodes: the options that every driver has, the driver, the children. */
#include <errno.h>

#include "block/control.h"
#include "block/graph.h"
#include "block/node-int.h"
#include "block/node-io.h"
#include "util/error.h"

/*
 * What an inline child takes over from its parent where its own options do not say (QEMU's rules).
 */
static void inherit_options(BlockOptions *options, const BlockOptions *parent)
{
    options->read_only = parent->read_only;
    options->auto_read_only = parent->auto_read_only;
    options->cache_direct = parent->cache_direct;
    options->cache_no_flush = parent->cache_no_flush;
    options->force_share = parent->force_share;
    options->discard_unmap = true; /* whether discards come so far is decided above */
}

static void own_options(BlockOptions *options, const BlockdevOptions *from)
{
    if (from->has_read_only) {
        options->read_only = from->read_only;
    }
    if (from->has_auto_read_only) {
        options->auto_read_only = from->auto_read_only;
    }
    if (from->has_force_share) {
        options->force_share = from->force_share;
    }
    if (from->has_discard) {
        options->discard_unmap = from->discard == BLOCKDEV_DISCARD_OPTIONS_UNMAP;
    }
    if (from->has_detect_zeroes) {
        options->detect_zeroes = from->detect_zeroes;
    }
    if (from->cache && from->cache->has_direct) {
        options->cache_direct = from->cache->direct;
    }
    if (from->cache && from->cache->has_no_flush) {
        options->cache_no_flush = from->cache->no_flush;
    }
}

static bool check_options(const BlockOptions *options, GError **errp)
{
    if (options->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP && !options->discard_unmap) {
        return tm_error_set(errp, "setting detect-zeroes to unmap is not allowed without setting "
                                  "discard operation to unmap");
    }
    if (options->force_share && !options->read_only) {
        return tm_error_set(errp, "force-share=on can only be used with read-only images");
    }
    return true;
}

bool block_node_resolve_options(BlockOptions *options, const BlockdevOptions *given,
                                const BlockOptions *parent, GError **errp)
{
    BlockOptions resolved = { 0 };

    if (parent) {
        inherit_options(&resolved, parent);
    }
    own_options(&resolved, given);
    if (!check_options(&resolved, errp)) {
        return false;
    }
    *options = resolved;
    return true;
}

static uint32_t max_alignment(uint32_t a, uint32_t b)
{
    return MAX(a, b); /* both are powers of two */
}

static int64_t min_limit(int64_t a, int64_t b)
{
    return a && b ? MIN(a, b) : MAX(a, b);
}

/* A node can do no more than what its storage can. */
static void merge_limits(BlockLimits *limits, const BlockLimits *child)
{
    limits->mem_alignment = max_alignment(limits->mem_alignment, child->mem_alignment);
    limits->min_mem_alignment = max_alignment(limits->min_mem_alignment, child->min_mem_alignment);
    limits->opt_transfer = MAX(limits->opt_transfer, child->opt_transfer);
    limits->max_transfer = min_limit(limits->max_transfer, child->max_transfer);
    limits->max_iov = min_limit(limits->max_iov, child->max_iov);
}

static void refresh_limits(BlockNode *node)
{
    node->limits = (BlockLimits){
        .request_alignment = 1,
        .mem_alignment = 1,
        .min_mem_alignment = 1,
    };
    for (unsigned i = 0; i < node->children->len; i++) {
        BlockChild *child = node->children->pdata[i];

        if (child->role & (BLOCK_ROLE_DATA | BLOCK_ROLE_FILTERED | BLOCK_ROLE_COW)) {
            merge_limits(&node->limits, &child->node->limits);
        }
        if (child->role & BLOCK_ROLE_FILTERED) {
            node->limits.request_alignment = child->node->limits.request_alignment;
            node->limits.write_zeroes_alignment = child->node->limits.write_zeroes_alignment;
            node->limits.discard_alignment = child->node->limits.discard_alignment;
        }
    }
    if (node->driver->refresh_limits) {
        node->driver->refresh_limits(node);
    }
}

int co_block_node_refresh(BlockNode *node)
{
    refresh_limits(node);
    return co_block_node_refresh_size(node);
}

int co_block_node_refresh_size(BlockNode *node)
{
    int64_t size;

    if (node->driver->co_get_size) {
        size = node->driver->co_get_size(node);
    } else {
        size = node->file ? node->file->node->size : -ENOTSUP;
    }
    if (size < 0) {
        return size;
    }
    if (size > BLOCK_MAX_SIZE) {
        return -EFBIG;
    }
    __atomic_store_n(&node->size, size, __ATOMIC_RELAXED); /* see block_node_size() */
    return 0;
}

static bool co_open_driver(BlockNode *node, const BlockdevOptions *options, GError **errp)
{
    int ret;

    if (!node->driver->co_open(node, options, errp)) {
        return false;
    }
    node->opened = true;
    co_move(node->loop);
    ret = co_block_node_refresh(node);
    co_move(control_loop());
    if (ret < 0) {
        return tm_error_set_errno(errp, -ret, "Could not refresh total sector count");
    }
    return true;
}

BlockNode *co_block_node_open_inherit(const BlockdevOptions *options, const BlockNode *parent,
                                      GError **errp)
{
    const BlockDriver *driver = block_driver_find(options->driver);
    BlockNode *node;

    g_assert(control_locked_by_me());
    if (!driver) {
        tm_error_set(errp, "Unknown driver '%s'", BlockdevDriver_name(options->driver));
        return NULL;
    }
    node = block_node_new(options->node_name, driver, errp);
    if (!node) {
        return NULL;
    }
    node->given = BlockdevOptions_copy(options);
    node->inherits_from = parent;
    node->shared = BLOCK_PERM_ALL;
    node->opened_for = parent;
    if (!block_node_resolve_options(&node->options, options, parent ? &parent->options : NULL,
                                    errp) ||
        !co_open_driver(node, options, errp)) {
        co_block_node_unref(node);
        return NULL;
    }
    node->opened_for = NULL;
    return node;
}

BlockNode *co_block_node_open(const BlockdevOptions *options, GError **errp)
{
    return co_block_node_open_inherit(options, NULL, errp);
}

static BlockNode *find_or_open(BlockNode *parent, const BlockdevRef *ref, GError **errp)
{
    BlockNode *node;

    if (ref->kind == BLOCKDEV_REF_KIND_DEFINITION) {
        return co_block_node_open_inherit(ref->u.definition, parent, errp);
    }
    node = block_node_lookup(ref->u.reference, errp);
    return node ? block_node_ref(node) : NULL;
}

BlockChild *co_block_open_child(BlockNode *node, const BlockdevRef *ref, const char *name,
                                unsigned role, GError **errp)
{
    BlockNode *below = find_or_open(node, ref, errp);
    BlockChild *child = NULL;

    if (below) {
        child = co_block_child_attach(node, below, name, role, errp);
        co_block_node_unref(below); /* the edge has its own */
    }
    return child;
}
