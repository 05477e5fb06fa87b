/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inbox of a loop; see loop-inbox.h.
 *
 * The lock is held from the put to the end of the wake-up, so that whoever received the work may
 * free the loop: nobody touches it after the work can be seen.
 */
#include "io/loop-inbox.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

void work_list_append(LoopWorkList *list, LoopWork *work)
{
    work->next = NULL;
    if (list->tail) {
        list->tail->next = work;
    } else {
        list->head = work;
    }
    list->tail = work;
}

LoopWork *work_list_pop(LoopWorkList *list)
{
    LoopWork *work = list->head;

    if (work) {
        list->head = work->next;
        if (!list->head) {
            list->tail = NULL;
        }
    }
    return work;
}

void work_list_splice(LoopWorkList *to, LoopWorkList *from)
{
    if (!from->head) {
        return;
    }
    if (to->tail) {
        to->tail->next = from->head;
    } else {
        to->head = from->head;
    }
    to->tail = from->tail;
    *from = (LoopWorkList){0};
}

int inbox_init(LoopInbox *inbox)
{
    *inbox = (LoopInbox){.event_fd = eventfd(0, EFD_CLOEXEC)};
    if (inbox->event_fd < 0) {
        return -errno;
    }
    pthread_mutex_init(&inbox->lock, NULL);
    return 0;
}

void inbox_destroy(LoopInbox *inbox)
{
    /* Waits for one who has put something and not left the lock yet. */
    pthread_mutex_lock(&inbox->lock);
    g_assert(!inbox->works.head && !inbox->reading);
    pthread_mutex_unlock(&inbox->lock);
    pthread_mutex_destroy(&inbox->lock);
    close(inbox->event_fd);
}

static void wake_locked(LoopInbox *inbox)
{
    if (atomic_exchange(&inbox->sleeping, false)) {
        int ret = eventfd_write(inbox->event_fd, 1);

        g_assert(ret == 0);
    }
}

void inbox_put(LoopInbox *inbox, LoopWork *work)
{
    pthread_mutex_lock(&inbox->lock);
    work_list_append(&inbox->works, work);
    atomic_store(&inbox->filled, true);
    wake_locked(inbox);
    pthread_mutex_unlock(&inbox->lock);
}

void inbox_poke(LoopInbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    wake_locked(inbox);
    pthread_mutex_unlock(&inbox->lock);
}

static void queue_read(LoopInbox *inbox)
{
    struct io_uring_sqe *sqe = ring_sqe(inbox->ring);

    io_uring_prep_read(sqe, inbox->event_fd, &inbox->count, sizeof(inbox->count), 0);
    ring_queue(inbox->ring, sqe, &inbox->read);
    inbox->reading = true;
}

static void read_done(RingOp *op, int res)
{
    LoopInbox *inbox = (LoopInbox *)((char *)op - offsetof(LoopInbox, read));

    inbox->reading = false;
    if (inbox->ring) {
        queue_read(inbox);
    }
}

void inbox_open(LoopInbox *inbox, Ring *ring)
{
    inbox->ring = ring;
    inbox->read.done = read_done;
    queue_read(inbox);
}

void inbox_close(LoopInbox *inbox)
{
    Ring *ring = inbox->ring;

    inbox->ring = NULL;
    ring_cancel(ring, &inbox->read);
    while (inbox->reading) {
        ring_submit(ring, INT64_MAX);
        ring_dispatch(ring);
    }
}

void inbox_take(LoopInbox *inbox, LoopWorkList *to)
{
    if (!atomic_load(&inbox->filled)) {
        return;
    }
    pthread_mutex_lock(&inbox->lock);
    work_list_splice(to, &inbox->works);
    atomic_store(&inbox->filled, false);
    pthread_mutex_unlock(&inbox->lock);
}

bool inbox_sleep(LoopInbox *inbox)
{
    bool empty;

    pthread_mutex_lock(&inbox->lock);
    empty = !inbox->works.head;
    atomic_store(&inbox->sleeping, empty);
    pthread_mutex_unlock(&inbox->lock);
    return empty;
}

void inbox_awake(LoopInbox *inbox)
{
    atomic_store(&inbox->sleeping, false);
}
