/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reopening a file: read-only and cache.direct need another descriptor.  It is opened beforehand,
 * so that nothing can fail any more when the change takes effect; the image locks then move to
 * it.
 */
#include "block/drivers/file.h"
#include "io/worker.h"
#include "util/error.h"

static bool is_same_file(int a, int b)
{
    struct stat x, y;

    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool co_open_again(BlockNode *node, FileOpen *open, GError **errp)
{
    const FileState *s = node->state;
    int ret = co_in_worker(file_open_worker, open);

    if (ret < 0) {
        return tm_error_set_errno(errp, -ret, "Could not reopen file");
    }
    if (!is_same_file(open->fd, s->fd)) {
        co_in_worker(file_close_worker, &open->fd);
        return tm_error_set(errp, "Could not reopen file: '%s' is another file now", open->path);
    }
    node->options.read_only = open->read_only;
    return true;
}

static bool file_co_prepare(BlockNode *node, const BlockdevOptions *given,
                            const BlockOptions *before, void **state, GError **errp)
{
    const BlockOptions *o = &node->options;
    FileOpen *open;

    if (o->read_only == before->read_only && o->cache_direct == before->cache_direct) {
        return true; /* *state stays NULL: the descriptor does */
    }
    open = g_new0(FileOpen, 1);
    open->path = node->filename;
    open->device = node->driver->id == BLOCKDEV_DRIVER_HOST_DEVICE;
    open->direct = o->cache_direct;
    open->read_only = o->read_only;
    open->auto_read_only = o->auto_read_only;
    if (!co_open_again(node, open, errp)) {
        g_free(open);
        return false;
    }
    /* Permissions depend on it: who may not resize an odd file cannot write its last bytes. */
    node->limits.request_alignment = open->request_alignment;
    *state = open;
    return true;
}

static void file_co_commit(BlockNode *node, void *state)
{
    FileState *s = node->state;
    FileOpen *open = state;
    int old = s->fd;

    if (!open) {
        return;
    }
    s->fd = open->fd;
    s->direct = open->direct;
    s->request_alignment = open->request_alignment;
    s->mem_alignment = open->mem_alignment;
    lock_bytes_move(&s->lock, s->fd);
    open->fd = old;
    co_in_worker(file_close_worker, &open->fd);
    g_free(open);
}

static void file_co_abort(BlockNode *node, void *state)
{
    const FileState *s = node->state;
    FileOpen *open = state;

    if (open) {
        node->limits.request_alignment = s->request_alignment;
        co_in_worker(file_close_worker, &open->fd);
        g_free(open);
    }
}

static const char *const file_options[] = { "x-check-cache-dropped", NULL };

const BlockReopenOps file_reopen_ops = {
    .options = file_options,
    .co_prepare = file_co_prepare,
    .co_commit = file_co_commit,
    .co_abort = file_co_abort,
};
