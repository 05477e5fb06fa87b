/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Image locking: permissions on a node as locked bytes of the image file, so that other processes
 * (QEMU and its tools use the same bytes) are kept from what would hurt.
 *
 * Byte 100 + i is locked while we use permission 1 << i, byte 200 + i while we do not share it. All
 * locks are shared ones of the open file description; a conflict is found by asking who else has
 * locked the opposite byte.
 */
#ifndef BLOCK_DRIVERS_LOCK_BYTES_H
#define BLOCK_DRIVERS_LOCK_BYTES_H

#include <glib.h>
#include <stdbool.h>

typedef struct LockBytes {
    int fd; /* not owned */
    bool enabled;
    unsigned perm;   /* BlockPerm for which byte 100 + i is locked */
    unsigned shared; /* BlockPerm for which byte 200 + i is not */
} LockBytes;

/* Does the file system of @fd know these locks? */
bool lock_bytes_supported(int fd);

void lock_bytes_init(LockBytes *lock, int fd, bool enabled);

/*
 * Takes what @perm and @shared need beyond what is held, and checks that nobody else is in the way.
 * After success call commit (with the same values) or abort.  On failure all is as before.
 */
bool lock_bytes_check(LockBytes *lock, unsigned perm, unsigned shared, GError **errp);
void lock_bytes_commit(LockBytes *lock, unsigned perm, unsigned shared);
void lock_bytes_abort(LockBytes *lock);

/*
 * Goes on with another descriptor of the same file; the locks on the old one end when it is closed.
 */
void lock_bytes_move(LockBytes *lock, int fd);

#endif
