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

/* The names that are in force; on failure those from before. */
static int co_write_names(BlockNode *node, char *name, char *format)
{
    Qcow2State *s = qcow2_state(node);
    char *old_name = s->header.backing_name, *old_format = s->header.backing_format;
    int ret;

    s->header.backing_name = name;
    s->header.backing_format = format;
    ret = co_qcow2_header_write(node);
    if (ret == 0) {
        ret = co_qcow2_flush_files(node);
    }
    if (ret < 0) {
        s->header.backing_name = old_name;
        s->header.backing_format = old_format;
    } else {
        g_free(old_name);
        g_free(old_format);
    }
    return ret;
}

int co_qcow2_set_backing_name(BlockNode *node, const char *name, const char *format)
{
    Qcow2State *s = qcow2_state(node);
    char *new_name = g_strdup(name), *new_format = g_strdup(name ? format : NULL);
    int ret;

    if (name && s->raw_external) {
        ret = -EINVAL; /* a raw data file is all of the disk */
    } else if (name && strlen(name) > QCOW2_MAX_BACKING_NAME) {
        ret = -EINVAL;
    } else {
        co_mutex_lock(&s->lock);
        ret = co_write_names(node, new_name, new_format);
        co_mutex_unlock(&s->lock);
    }
    if (ret < 0) {
        g_free(new_name);
        g_free(new_format);
    }
    return ret;
}
