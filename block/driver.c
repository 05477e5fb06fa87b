/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of drivers that are known; see driver.h. */
#include "block/driver.h"

static const BlockDriver *drivers[BLOCKDEV_DRIVER__MAX];

void block_driver_register(const BlockDriver *driver)
{
    g_assert(driver->id >= 0 && driver->id < BLOCKDEV_DRIVER__MAX);
    drivers[driver->id] = driver;
}

const BlockDriver *block_driver_find(BlockdevDriver id)
{
    return id >= 0 && id < BLOCKDEV_DRIVER__MAX ? drivers[id] : NULL;
}
