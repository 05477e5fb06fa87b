/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The built-in drivers, for their registration. */
#ifndef BLOCK_DRIVERS_DRIVERS_H
#define BLOCK_DRIVERS_DRIVERS_H

#include "block/driver.h"

#define BLOCK_SECTOR 512

/* Nodes are in whole sectors, as guests see disks: behind a part of one they read as zeroes. */
static inline int64_t block_whole_sectors(int64_t size)
{
    return size > INT64_MAX - BLOCK_SECTOR
               ? INT64_MAX / BLOCK_SECTOR * BLOCK_SECTOR
               : (size + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR;
}

extern const BlockDriver block_driver_blkdebug;
extern const BlockDriver block_driver_file;
extern const BlockDriver block_driver_host_device;
extern const BlockDriver block_driver_nbd;
extern const BlockDriver block_driver_null_co;
extern const BlockDriver block_driver_qcow2;
extern const BlockDriver block_driver_raw;

#endif
