/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options of a new image, checked and with their defaults put in; no I/O. */
#ifndef BLOCK_DRIVERS_QCOW2_CREATE_OPTIONS_H
#define BLOCK_DRIVERS_QCOW2_CREATE_OPTIONS_H

#include "block/drivers/qcow2/header.h"

typedef struct Qcow2Plan {
    Qcow2Header header; /* with all but the places of tables; owns its strings */
    int64_t size;       /* the disk's */
    PreallocMode prealloc;
} Qcow2Plan;

/* Checks in QEMU's order and with its words.  On failure @plan needs no clean-up. */
bool qcow2_plan_image(Qcow2Plan *plan, const BlockdevCreateOptionsQcow2 *options, GError **errp);
void qcow2_plan_clear(Qcow2Plan *plan);

/*
 * Where the tables of an empty image are: header, refcount table, refcount blocks, L1 table, in
 * this order from the start of the file.  Sets the places in @header for a disk of @size bytes;
 * fails where that takes a larger L1 table than the format's bound.
 */
typedef struct Qcow2Layout {
    int64_t refblock_offset, refblocks;
    int64_t clusters; /* of all of it */
} Qcow2Layout;
bool qcow2_plan_layout(Qcow2Header *header, int64_t size, Qcow2Layout *layout, GError **errp);

#endif
