/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For the tests of backup jobs beside a guest against a model. */
#ifndef TESTS_UNIT_PUSH_UTIL_H
#define TESTS_UNIT_PUSH_UTIL_H

#include "block/node-bitmaps.h"
#include "tests/unit/copy-util.h"

typedef struct PushTest {
    BlockNode *disk, *copy;
    DirtyBitmap *bitmap;
    MemGuest guest;
    Outcome outcome;
    uint8_t *snapshot; /* the disk at the instant */
} PushTest;

/* The job's filter shows the frozen view too, wherever the old bytes are now. */
static inline void co_look_through_filter(const uint8_t *snapshot, int64_t size)
{
    g_autofree uint8_t *buf = g_malloc(100000);
    TestUser reader;
    BlockNode *view;

    co_control_lock();
    if (!block_node_find("flt")) {
        control_unlock();
        return;
    }
    view = co_open_json("{'driver': 'snapshot-access', 'node-name': 'view', 'file': 'flt'}");
    g_assert_true(co_test_user_init(&reader, view, BLOCK_PERM_CONSISTENT_READ, BLOCK_PERM_ALL,
                                    NULL));
    control_unlock();
    for (int i = 0; i < 20 && !reader.quiesced; i++) {
        int64_t offset = test_range(0, size - 100000);
        int ret;

        test_user_begin(&reader);
        ret = co_block_read_buf(reader.child, offset, buf, 100000);
        test_user_end(&reader);
        if (ret == 0) {
            g_assert_cmpint(memcmp(buf, snapshot + offset, 100000), ==, 0);
        }
    }
    co_control_lock();
    co_block_user_free(reader.user);
    co_block_node_unref(view);
    control_unlock();
}

/* I3: where the bitmap is clean the target has what the disk has. */
static inline void check_clean_granules(const PushTest *t)
{
    const uint8_t *disk = mem_disk(t->disk)->bytes, *target = mem_disk(t->copy)->bytes;

    for (int64_t at = 0; at < t->disk->size; at += GRANULE) {
        int64_t n = MIN(GRANULE, t->disk->size - at);

        if (!dirty_bitmap_get(t->bitmap, at)) {
            g_assert_cmpint(memcmp(disk + at, target + at, n), ==, 0);
        }
    }
}

/* I2: the target is the disk of the instant. */
static inline void check_all(const PushTest *t)
{
    const uint8_t *target = mem_disk(t->copy)->bytes;

    for (int64_t at = 0; at < t->disk->size; at++) {
        if (t->snapshot[at] != target[at]) {
            g_error("byte %" G_GINT64_FORMAT " differs", at);
        }
    }
}

/* Holds the guest still for a look. */
static inline void co_check_bits(PushTest *t)
{
    BlockDrain *drain;

    co_control_lock();
    drain = co_block_drain_begin(t->disk);
    g_assert_false(dirty_bitmap_busy(t->bitmap));
    check_clean_granules(t);
    co_block_drain_end(drain);
    control_unlock();
}

/* By what was drawn: pauses the job (0), resumes it (1 to 3), drains a disk (4), or nothing. */
static inline void co_bother_job(Job *job, int what, BlockNode *source, BlockNode *target)
{
    switch (what) {
    case 0:
        job_user_pause(job, NULL);
        break;
    case 1:
    case 2:
    case 3:
        job_user_resume(job, NULL);
        break;
    case 4:
        co_drain_once(test_bit() ? source : target);
        break;
    }
}

/* Two disks and a bitmap, and a guest that writes to the one. */
static inline void co_push_begin(PushTest *t, int64_t size)
{
    *t = (PushTest){ .snapshot = g_malloc(size) };
    co_control_lock();
    t->disk = co_mem_open("disk", size);
    t->copy = co_mem_open("copy", size);
    t->bitmap = block_node_bitmap_add(t->disk, "b", GRANULE, NULL);
    qmp_event_set_sink(note_event, &t->outcome);
    co_guest_start(&t->guest, t->disk, t->disk);
    control_unlock();
}

static inline void co_push_end(PushTest *t)
{
    co_control_lock();
    g_assert_cmpuint(t->guest.failed, ==, 0); /* I5 */
    g_assert_cmpuint(t->disk->parents->len, ==, 1);
    co_guest_stop(&t->guest);
    co_block_node_unref(t->disk);
    co_block_node_unref(t->copy);
    control_unlock();
    qmp_event_set_sink(NULL, NULL);
    g_free(t->snapshot);
}

#endif
