/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Clients that read the view give way to the guest, as a copier does (pace.h): what they read of
 * the source waits its turn while the guest is busy.
 *
 * Only the guest's writes tell how busy it is: a client of the classic pull reads the source by the
 * same filter as the guest.
 */
#include "block/copy/copy-int.h"

/* The smallest read, all that are read at a time at the most, and bytes a second at the least. */
#define READER_UNIT (INT64_C(64) << 10)
#define READER_BYTES (INT64_C(16) << 20)
#define READER_LEAST_SPEED (INT64_C(8) << 20)

void copy_pace_readers(BlockCopy *copy)
{
    pace_init(&copy->reader_pace, &pace_of_readers, READER_BYTES, READER_LEAST_SPEED,
              loop_now_ns());
    copy->pace = &copy->reader_pace;
}

bool copy_readers_give_way(const BlockCopy *copy)
{
    return copy->pace == &copy->reader_pace;
}

int64_t copy_reader_piece(const BlockCopy *copy, int64_t bytes)
{
    return copy_readers_give_way(copy)
               ? MIN(bytes, pace_read_size(copy->pace, READER_UNIT, READER_BYTES)) : bytes;
}

/* First come, first served: only the first looks at the clock. */
int64_t co_copy_reader_begin(BlockCopy *copy, int64_t bytes)
{
    int64_t wake, began;

    if (!copy_readers_give_way(copy)) {
        return 0;
    }
    co_mutex_lock(&copy->reader_turn);
    while (!copy->off && !pace_may_read(copy->pace, loop_now_ns(), bytes, &wake)) {
        bool woken = co_queue_wait_until(&copy->reader_ended, wake);

        (void)woken; /* either way it is asked again */
    }
    began = loop_now_ns();
    pace_read_begin(copy->pace, bytes);
    co_mutex_unlock(&copy->reader_turn);
    return began;
}

void copy_reader_end(BlockCopy *copy, int64_t began, int64_t bytes)
{
    if (began) {
        pace_read_end(&copy->reader_pace, loop_now_ns(), began, bytes);
        co_queue_wake_one(&copy->reader_ended);
    }
}
