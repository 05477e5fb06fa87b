/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control lock; see control.h.  The one piece of state of the process that is not a node's. */
#include "block/control.h"

#include <stdatomic.h>

static struct {
    Loop *loop;
    CoMutex lock;
    atomic_bool stopping;
} control;

void control_init(Loop *loop0)
{
    control.loop = loop0;
}

Loop *control_loop(void)
{
    return control.loop;
}

void co_control_lock(void)
{
    g_assert(loop_current() == control.loop);
    co_mutex_lock(&control.lock);
}

void control_unlock(void)
{
    g_assert(loop_current() == control.loop);
    co_mutex_unlock(&control.lock);
}

bool control_locked_by_me(void)
{
    return control.lock.owner && control.lock.owner == co_self();
}

void control_stop(void)
{
    atomic_store(&control.stopping, true);
}

bool control_stopping(void)
{
    return atomic_load(&control.stopping);
}
