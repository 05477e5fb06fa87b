/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The built-in drivers, for their registration. */
#ifndef BLOCK_DRIVERS_DRIVERS_H
#define BLOCK_DRIVERS_DRIVERS_H

#include "block/driver.h"

extern const BlockDriver block_driver_blkdebug;
extern const BlockDriver block_driver_file;
extern const BlockDriver block_driver_host_device;
extern const BlockDriver block_driver_nbd;
extern const BlockDriver block_driver_null_co;
extern const BlockDriver block_driver_raw;

#endif
