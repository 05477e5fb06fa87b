/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* New images. */
#ifndef BLOCK_DRIVERS_QCOW2_CREATE_H
#define BLOCK_DRIVERS_QCOW2_CREATE_H

#include "qmp-schema/qmp-types.h"

/* The operation co_create of the driver; see block/driver.h. */
bool qcow2_co_create(const BlockdevCreateOptions *options, GError **errp);

#endif
