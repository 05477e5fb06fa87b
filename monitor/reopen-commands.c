/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* blockdev-reopen.  (An empty list, on which QEMU 10.0 aborts, changes nothing.) */
#include "block/control.h"
#include "block/reopen.h"
#include "qmp-schema/qmp-commands.h"

bool qmp_blockdev_reopen(const BlockdevReopenArgs *args, GError **errp)
{
    bool ok;

    co_control_lock();
    ok = co_block_reopen(args->options, errp);
    control_unlock();
    return ok;
}
