/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The name of the backing file in the header: opened by it, and changed. */
#include "block/drivers/qcow2/qcow2.h"

#include "block/backing.h"

#include <errno.h>

bool co_qcow2_open_backing(BlockNode *node, GError **errp)
{
    const Qcow2Header *h = &qcow2_state(node)->header;

    return co_block_open_backing(node, h->backing_name, h->backing_format, errp);
}

static void set_names(Qcow2State *s, char *name, char *format)
{
    g_mutex_lock(&s->info_lock);
    s->header.backing_name = name;
    s->header.backing_format = format;
    g_mutex_unlock(&s->info_lock);
}

/* Takes over both strings; on failure the old names are in force. */
static int co_write_names(BlockNode *node, char *name, char *format)
{
    Qcow2State *s = qcow2_state(node);
    char *old_name = s->header.backing_name, *old_format = s->header.backing_format;
    int ret;

    set_names(s, name, format);
    ret = co_qcow2_header_commit(node);
    if (ret < 0) {
        set_names(s, old_name, old_format);
        co_qcow2_header_take_back(node);
    }
    g_free(ret < 0 ? name : old_name);
    g_free(ret < 0 ? format : old_format);
    return ret;
}

int co_qcow2_set_backing_name(BlockNode *node, const char *name, const char *format)
{
    Qcow2State *s = qcow2_state(node);
    int ret;

    if (name && (s->raw_external || strlen(name) > QCOW2_MAX_BACKING_NAME)) {
        return -EINVAL; /* a raw data file is all of the disk */
    }
    if (s->broken) {
        return -EIO;
    }
    co_mutex_lock(&s->lock);
    ret = co_write_names(node, g_strdup(name), g_strdup(name ? format : NULL));
    co_mutex_unlock(&s->lock);
    return ret;
}
