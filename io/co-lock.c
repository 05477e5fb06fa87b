/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Locks and queues of coroutines; see co-lock.h.
 *
 * All are a queue of waiters that lie on their coroutines' stacks.  Whoever releases a lock hands
 * it to the first waiter before that one runs, so nobody who comes later can take it away.
 */
#include "io/co-lock.h"

#include "io/co-private.h"

struct CoWaiter {
    Co *co;
    int64_t amount; /* what it waits for, in the lock's own terms */
    CoQueue *queue; /* NULL: was woken */
    CoWaiter *next, *prev;
};

static void append(CoQueue *queue, CoWaiter *waiter)
{
    waiter->queue = queue;
    waiter->next = NULL;
    waiter->prev = queue->tail;
    *(queue->tail ? &queue->tail->next : &queue->head) = waiter;
    queue->tail = waiter;
}

static Co *take_out(CoWaiter *waiter)
{
    CoQueue *queue = waiter->queue;

    *(waiter->prev ? &waiter->prev->next : &queue->head) = waiter->next;
    *(waiter->next ? &waiter->next->prev : &queue->tail) = waiter->prev;
    waiter->queue = NULL;
    return waiter->co;
}

static void wake(CoWaiter *waiter)
{
    co_ready(take_out(waiter));
}

static void wait_for(CoQueue *queue, int64_t amount)
{
    CoWaiter waiter = {.co = co_self(), .amount = amount};

    append(queue, &waiter);
    co_suspend();
}

void co_queue_wait(CoQueue *queue)
{
    wait_for(queue, 0);
}

typedef struct TimedWaiter {
    CoWaiter waiter;
    LoopTimer timer;
    bool timed_out;
} TimedWaiter;

static void deadline_passed(void *opaque)
{
    TimedWaiter *timed = opaque;

    if (timed->waiter.queue) {
        timed->timed_out = true;
        co_resume(take_out(&timed->waiter));
    }
}

bool co_queue_wait_until(CoQueue *queue, int64_t deadline_ns)
{
    TimedWaiter timed = {.waiter.co = co_self()};

    if (deadline_ns == INT64_MAX) {
        co_queue_wait(queue);
        return true;
    }
    loop_timer_init(&timed.timer, deadline_passed, &timed);
    loop_timer_set(&timed.timer, deadline_ns);
    append(queue, &timed.waiter);
    co_suspend();
    loop_timer_cancel(&timed.timer);
    return !timed.timed_out;
}

bool co_queue_wake_one(CoQueue *queue)
{
    if (!queue->head) {
        return false;
    }
    wake(queue->head);
    return true;
}

void co_queue_wake_all(CoQueue *queue)
{
    while (co_queue_wake_one(queue)) {
    }
}

bool co_queue_empty(const CoQueue *queue)
{
    return !queue->head;
}

bool co_mutex_try_lock(CoMutex *mutex)
{
    if (mutex->owner) {
        return false;
    }
    mutex->owner = co_self();
    return true;
}

void co_mutex_lock(CoMutex *mutex)
{
    if (!co_mutex_try_lock(mutex)) {
        g_assert(mutex->owner != co_self());
        wait_for(&mutex->waiters, 0);
        g_assert(mutex->owner == co_self());
    }
}

void co_mutex_unlock(CoMutex *mutex)
{
    CoWaiter *first = mutex->waiters.head;

    g_assert(mutex->owner == co_self());
    mutex->owner = first ? first->co : NULL;
    if (first) {
        wake(first);
    }
}

enum { READER, WRITER };

void co_rwlock_rdlock(CoRwLock *lock)
{
    if (lock->writer || !co_queue_empty(&lock->waiters)) {
        wait_for(&lock->waiters, READER);
    } else {
        lock->readers++;
    }
}

void co_rwlock_wrlock(CoRwLock *lock)
{
    if (lock->writer || lock->readers) {
        wait_for(&lock->waiters, WRITER);
    } else {
        lock->writer = true;
    }
}

/* Lets in a writer, or all readers before the next one. */
static void let_in(CoRwLock *lock)
{
    CoWaiter *first;

    while ((first = lock->waiters.head) && !lock->writer) {
        if (first->amount == READER) {
            lock->readers++;
        } else if (!lock->readers) {
            lock->writer = true;
        } else {
            break;
        }
        wake(first);
    }
}

void co_rwlock_unlock(CoRwLock *lock)
{
    g_assert(lock->writer || lock->readers > 0);
    if (lock->writer) {
        lock->writer = false;
    } else {
        lock->readers--;
    }
    let_in(lock);
}

void co_semaphore_init(CoSemaphore *sem, int64_t count)
{
    *sem = (CoSemaphore){.free = count};
}

void co_semaphore_acquire(CoSemaphore *sem, int64_t count)
{
    if (sem->free >= count && co_queue_empty(&sem->waiters)) {
        sem->free -= count;
    } else {
        wait_for(&sem->waiters, count);
    }
}

void co_semaphore_release(CoSemaphore *sem, int64_t count)
{
    CoWaiter *first;

    sem->free += count;
    while ((first = sem->waiters.head) && first->amount <= sem->free) {
        sem->free -= first->amount;
        wake(first);
    }
}
