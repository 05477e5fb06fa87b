/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The commands on images as files: thin handlers above block/jobs/. */
#include "block/jobs/create.h"
#include "qmp-schema/qmp-commands.h"

bool qmp_blockdev_create(const BlockdevCreateArgs *args, GError **errp)
{
    return block_create_start(args->job_id, args->options, errp);
}

bool qmp_x_blockdev_check(const XBlockdevCheckArgs *args, GError **errp)
{
    return co_block_check_start(args->job_id, args->node,
                                args->has_fix ? args->fix : X_BLOCKDEV_CHECK_FIX_NONE, errp);
}
