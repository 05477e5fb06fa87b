/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The registration of the built-in drivers. */
#include "block/drivers/drivers.h"
#include "block/filters/filters.h"

void block_drivers_register(void)
{
    static const BlockDriver *const builtin[] = {
        &block_driver_blkdebug, &block_driver_copy_before_write,
        &block_driver_file,     &block_driver_host_device,
        &block_driver_nbd,      &block_driver_null_co,
        &block_driver_qcow2,    &block_driver_raw,
        &block_driver_snapshot_access,
    };

    for (size_t i = 0; i < G_N_ELEMENTS(builtin); i++) {
        block_driver_register(builtin[i]);
    }
}
