/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Image locking by bytes of the file; see lock-bytes.h. */
#include "block/drivers/lock-bytes.h"
#include "block/block-types.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>

enum {
    LOCK_PERM_BASE = 100,
    LOCK_UNSHARED_BASE = 200,
    LOCK_BITS = 4, /* of BLOCK_PERM_ALL */
};

static const char *const perm_names[LOCK_BITS] = {
    "consistent read",
    "write",
    "write unchanged",
    "resize",
};

static int set_lock(int fd, int byte, short type)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

/* 0 when nobody else has locked @byte, -EAGAIN when somebody has. */
static int test_lock(int fd, int byte)
{
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    if (fcntl(fd, F_OFD_GETLK, &fl) < 0) {
        return -errno;
    }
    return fl.l_type == F_UNLCK ? 0 : -EAGAIN;
}

bool lock_bytes_supported(int fd)
{
    int ret = test_lock(fd, LOCK_PERM_BASE);

    return ret == 0 || ret == -EAGAIN;
}

void lock_bytes_init(LockBytes *lock, int fd, bool enabled)
{
    *lock = (LockBytes){.fd = fd, .enabled = enabled, .perm = 0, .shared = BLOCK_PERM_ALL};
}

/* Locks the bytes of @want, and unlocks those of @held that are not wanted. */
static bool change_locks(int fd, int base, unsigned held, unsigned want, GError **errp)
{
    for (int i = 0; i < LOCK_BITS; i++) {
        unsigned bit = 1U << i;
        if ((held & bit) == (want & bit)) {
            continue;
        }
        int ret = set_lock(fd, base + i, want & bit ? F_RDLCK : F_UNLCK);
        if (ret < 0) {
            return tm_error_set_errno(errp, -ret, "Failed to %s byte %d",
                                      want & bit ? "lock" : "unlock", base + i);
        }
    }
    return true;
}

/* Brings the locks from (perm, shared) to (new_perm, new_shared). */
static bool apply(const LockBytes *lock, unsigned perm, unsigned shared, unsigned new_perm,
                  unsigned new_shared, GError **errp)
{
    unsigned unshared = BLOCK_PERM_ALL & ~shared;
    unsigned new_unshared = BLOCK_PERM_ALL & ~new_shared;

    return change_locks(lock->fd, LOCK_PERM_BASE, perm, new_perm, errp) &&
           change_locks(lock->fd, LOCK_UNSHARED_BASE, unshared, new_unshared, errp);
}

/* Is one of the bytes of @perms from @base on locked by somebody else? @what: "" or "shared ". */
static bool check_others(int fd, int base, unsigned perms, const char *what, GError **errp)
{
    for (int i = 0; i < LOCK_BITS; i++) {
        if (!(perms & 1U << i)) {
            continue;
        }
        int ret = test_lock(fd, base + i);
        if (ret == -EAGAIN) {
            return tm_error_set(errp, "Failed to get %s\"%s\" lock", what, perm_names[i]);
        }
        if (ret < 0) {
            return tm_error_set_errno(errp, -ret, "Failed to get %s\"%s\" lock", what,
                                      perm_names[i]);
        }
    }
    return true;
}

bool lock_bytes_check(LockBytes *lock, unsigned perm, unsigned shared, GError **errp)
{
    unsigned all_perm = lock->perm | perm;
    unsigned both_shared = lock->shared & shared;

    /* Only giving up: nothing that somebody could refuse. */
    if (!lock->enabled || (all_perm == lock->perm && both_shared == lock->shared)) {
        return true;
    }
    /* Lock first and look then: of two processes that do this at the same time at least one sees
     * the other. */
    if (apply(lock, lock->perm, lock->shared, all_perm, both_shared, errp) &&
        check_others(lock->fd, LOCK_UNSHARED_BASE, perm, "", errp) &&
        check_others(lock->fd, LOCK_PERM_BASE, BLOCK_PERM_ALL & ~shared, "shared ", errp)) {
        return true;
    }
    lock_bytes_abort(lock);
    return false;
}

/* Every byte is set anew, as it is not known which of them a check has locked; unlocking and
 * locking what is held already cannot be refused. */
static void settle(LockBytes *lock)
{
    apply(lock, BLOCK_PERM_ALL & ~lock->perm, BLOCK_PERM_ALL & ~lock->shared, lock->perm,
          lock->shared, NULL);
}

void lock_bytes_commit(LockBytes *lock, unsigned perm, unsigned shared)
{
    lock->perm = perm & BLOCK_PERM_ALL;
    lock->shared = shared & BLOCK_PERM_ALL;
    if (lock->enabled) {
        settle(lock);
    }
}

void lock_bytes_abort(LockBytes *lock)
{
    if (lock->enabled) {
        settle(lock);
    }
}

void lock_bytes_move(LockBytes *lock, int fd)
{
    lock->fd = fd;
    if (lock->enabled) {
        settle(lock);
    }
}
