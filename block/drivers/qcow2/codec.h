/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two ways to compress a cluster: buffers in, buffers out.  Slow: to be called in a worker. */
#ifndef BLOCK_DRIVERS_QCOW2_CODEC_H
#define BLOCK_DRIVERS_QCOW2_CODEC_H

#include <stddef.h>
#include <sys/types.h>

#include "block/drivers/qcow2/format.h"

/*
 * Compresses all of @src into at most @room bytes: how many they are, -ENOSPC where they are more,
 * -ENOMEM, -EIO.
 */
ssize_t qcow2_pack(Qcow2Compression how, void *dst, size_t room, const void *src, size_t len);

/*
 * Fills all of @dst from @src, behind whose compressed data there may be anything.  -EIO where it
 * is damaged, or does not give exactly @len bytes as far as its format lets one tell; -ENOMEM.
 */
int qcow2_unpack(Qcow2Compression how, void *dst, size_t len, const void *src, size_t src_len);

#endif
