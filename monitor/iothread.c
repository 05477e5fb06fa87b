/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Iothreads; see iothread.h. */
#include "monitor/iothread.h"

#include "block/node.h"
#include "block/objects/user-object.h"

Loop *iothread_loop(const char *id)
{
    const UserObject *object = user_object_find(id);

    return object && object->type == OBJECT_TYPE_IOTHREAD ? object->state : NULL;
}

static LoopPollOptions poll_options(const Loop *loop, const IothreadProperties *properties)
{
    LoopPollOptions options = loop_poll_options(loop);

    if (properties->has_poll_max_ns) {
        options.max_ns = properties->poll_max_ns;
    }
    options.grow = properties->has_poll_grow ? properties->poll_grow : 0;
    options.shrink = properties->has_poll_shrink ? properties->poll_shrink : 0;
    return options;
}

Loop *iothread_new(const char *id, const IothreadProperties *properties, GError **errp)
{
    Loop *loop = loop_new(id, errp);

    if (loop) {
        loop_set_poll_options(loop, poll_options(loop, properties));
    }
    if (!loop || !loop_start_thread(loop, errp)) {
        g_clear_pointer(&loop, loop_free);
    }
    return loop;
}

void iothread_free(void *loop)
{
    loop_free(loop);
}

bool iothread_in_use(const Loop *loop)
{
    const GPtrArray *nodes = block_nodes();

    for (guint i = 0; i < nodes->len; i++) {
        if (((BlockNode *)nodes->pdata[i])->loop == loop) {
            return true;
        }
    }
    return false;
}
