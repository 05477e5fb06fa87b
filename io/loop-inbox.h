/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inbox of a loop, private to io/: works that other threads put there, and the wake-up that
 * makes the loop look.  A put costs a system call only if the loop sleeps.
 */
#ifndef IO_LOOP_INBOX_H
#define IO_LOOP_INBOX_H

#include <pthread.h>
#include <stdatomic.h>

#include "io/loop.h"
#include "io/ring.h"

/* A function to be run once, embedded in its user. */
typedef struct LoopWork {
    LoopFn *fn;
    void *opaque;
    struct LoopWork *next;
} LoopWork;

typedef struct LoopWorkList {
    LoopWork *head, *tail;
} LoopWorkList;

void work_list_append(LoopWorkList *list, LoopWork *work);
LoopWork *work_list_pop(LoopWorkList *list); /* NULL where it is empty */
/* Moves all of @from to the end of @to. */
void work_list_splice(LoopWorkList *to, LoopWorkList *from);

typedef struct LoopInbox {
    pthread_mutex_t lock;
    LoopWorkList works;    /* under the lock */
    _Atomic bool filled;   /* works is not empty; for a look without the lock */
    _Atomic bool sleeping; /* the loop waits, or is about to: a put must write to event_fd */
    int event_fd;

    Ring *ring; /* while open: the ring that reads event_fd, and this read */
    RingOp read;
    bool reading;
    uint64_t count;
} LoopInbox;

/* 0 or -errno. */
int inbox_init(LoopInbox *inbox);
void inbox_destroy(LoopInbox *inbox);

/* Any thread.  inbox_poke() only makes the loop go round. */
void inbox_put(LoopInbox *inbox, LoopWork *work);
void inbox_poke(LoopInbox *inbox);

/*
 * The rest is for the loop's thread: the wake-up read is kept queued on @ring until
 * inbox_close().
 */
void inbox_open(LoopInbox *inbox, Ring *ring);
void inbox_close(LoopInbox *inbox);

void inbox_take(LoopInbox *inbox, LoopWorkList *to);

/*
 * Says that the loop is about to wait; false if it must not, as there are works.  Ends with
 * awake.
 */
bool inbox_sleep(LoopInbox *inbox);
void inbox_awake(LoopInbox *inbox);

#endif
