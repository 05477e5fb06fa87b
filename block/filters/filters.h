/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The built-in filters, for their registration. */
#ifndef BLOCK_FILTERS_FILTERS_H
#define BLOCK_FILTERS_FILTERS_H

#include "block/driver.h"

extern const BlockDriver block_driver_copy_before_write;
extern const BlockDriver block_driver_snapshot_access;

#endif
