/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Work on nodes by one command; see work.h. */
#include "block/work.h"

#include "block/control.h"
#include "util/error.h"

struct BlockWork {
    BlockUser *user;
    bool busy; /* set under the control lock (nothing is being drained); cleared on the loop */
};

static void on_drained(void *opaque)
{
}

static bool on_drained_poll(void *opaque)
{
    const BlockWork *work = opaque;

    return work->busy;
}

static char *describe(void *opaque)
{
    return g_strdup("an unnamed block device");
}

static const BlockUserOps work_ops = {
    .drain_order = 1,
    .drained_begin = on_drained,
    .drained_poll = on_drained_poll,
    .drained_end = on_drained,
    .describe = describe,
};

BlockWork *block_work_new(void)
{
    BlockWork *work = g_new0(BlockWork, 1);

    g_assert(control_locked_by_me());
    work->user = block_user_new(&work_ops, work);
    return work;
}

BlockChild *co_block_work_attach(BlockWork *work, BlockNode *node, unsigned perm, unsigned shared,
                                 GError **errp)
{
    if ((perm & (BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE)) && block_node_is_read_only(node)) {
        tm_error_set(errp, "Block node is read-only");
        return NULL;
    }
    return co_block_user_attach(work->user, node, "root", 0, perm, shared, errp);
}

void co_block_work_free(BlockWork *work)
{
    if (work) {
        co_block_user_free(work->user);
        g_free(work);
    }
}

void co_block_work_begin(BlockWork *work)
{
    Loop *loop = block_user_loop(work->user);

    work->busy = true;
    control_unlock();
    co_move(loop);
}

void co_block_work_end(BlockWork *work)
{
    work->busy = false;
    block_user_drain_progress(work->user);
    co_move(control_loop());
    co_control_lock();
}
