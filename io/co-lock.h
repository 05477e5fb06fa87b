/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Locks and queues between coroutines of one loop.  All are zero-initialised and need no destructor
 * (nobody may wait in one that goes away).  Fair: first come, first served.
 */
#ifndef IO_CO_LOCK_H
#define IO_CO_LOCK_H

#include "io/co.h"

typedef struct CoWaiter CoWaiter;

/* A queue of waiting coroutines (a condition: check it again after each wait). */
typedef struct CoQueue {
    CoWaiter *head, *tail;
} CoQueue;
void co_queue_wait(CoQueue *queue);
/* False when the deadline (loop_now_ns()) passed before a wake; INT64_MAX waits for ever. */
G_GNUC_WARN_UNUSED_RESULT bool co_queue_wait_until(CoQueue *queue, int64_t deadline_ns);
bool co_queue_wake_one(CoQueue *queue); /* false when nobody waited */
void co_queue_wake_all(CoQueue *queue); /* all who wait now */
bool co_queue_empty(const CoQueue *queue);

typedef struct CoMutex {
    Co *owner;
    CoQueue waiters;
} CoMutex;
void co_mutex_lock(CoMutex *mutex);
bool co_mutex_try_lock(CoMutex *mutex);
void co_mutex_unlock(CoMutex *mutex);

/* Many readers or one writer; a waiting writer holds back later readers. */
typedef struct CoRwLock {
    int readers;
    bool writer;
    CoQueue waiters;
} CoRwLock;
void co_rwlock_rdlock(CoRwLock *lock);
void co_rwlock_wrlock(CoRwLock *lock);
void co_rwlock_unlock(CoRwLock *lock);

/*
 * A counting semaphore that bounds what is in flight.  Nobody overtakes one who waits for more; so
 * @count must not exceed what the semaphore was made with.
 */
typedef struct CoSemaphore {
    int64_t free;
    CoQueue waiters;
} CoSemaphore;
void co_semaphore_init(CoSemaphore *sem, int64_t count);
void co_semaphore_acquire(CoSemaphore *sem, int64_t count);
void co_semaphore_release(CoSemaphore *sem, int64_t count);

#endif
