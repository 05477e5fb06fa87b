/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Backup jobs with tiny staging and a tiny spill file against a model: each round drives a job down
 * one of the ways that there are when the guest outruns the target.  No byte is wrong, the guest
 * sees no error but those of its own disk, memory stays bounded, and at the end each way must have
 * been walked.
 *
 * TIDEMARK_SEED repeats a run, TIDEMARK_ROUNDS sets its length: 24 by default and at the least,
 * three of each way.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "block/gate.h"
#include "tests/unit/push-util.h"

#define ROOM_SIZE ((12 << 20) + 12800) /* the last block is cut */
#define STAGING ((size_t)2 << 20)
#define HUGE_PAGE ((size_t)2 << 20) /* what buffers are cut from */
#define LOOK_BYTES 200000
#define LEAST_ROUNDS 24

typedef enum Way {
    WAY_SPILL,        /* the file takes what staging cannot, until the target goes on */
    WAY_FULL,         /* the file is full, too: the job fails soon */
    WAY_WAIT,         /* no file, or it is full: the guest waits until the target goes on */
    WAY_TIMEOUT,      /* … and in vain: the job fails when its time is out */
    WAY_CANCEL,       /* while there is much in staging and in the file */
    WAY_TARGET_ERROR, /* the target goes on, and fails now and then */
    WAY_SOURCE_ERROR, /* old bytes cannot be read now and then */
    WAY_SPILL_ERROR,  /* the file cannot be written, at once or later */
    N_WAYS
} Way;

/* How often something happened in the whole run. */
typedef struct Walked {
    unsigned spilled, file_full, waited; /* … and the copy was right */
    unsigned gave_up_full, gave_up_waiting;
    unsigned cancelled, cancelled_waiting;
    unsigned target_failed, target_survived, source_failed, source_survived;
    unsigned file_failed, file_failed_late;
    unsigned looks; /* at what was spilled */
} Walked;

/* What was seen of a round's copy up to now. */
typedef struct Seen {
    int64_t spilled;
    bool waiting; /* now */
    bool file_full, stopped, file_failed, file_failed_late;
    uint64_t waits;
} Seen;

typedef struct RoomTest {
    PushTest push;
    Way way;
    int round;
    unsigned turn; /* how often this way was taken before */
    BlockdevBackup args;
    BackupPerf perf;
    int64_t enough; /* bytes spilled: then the target goes on */
    bool released;
    Seen seen;
    Walked walked;
} RoomTest;

/* --- memory: I7 --- */

/* A reader and each chunk in flight have half a MiB; single blocks leave in one page of theirs. */
static size_t most_buffers(const RoomTest *t)
{
    return (size_t)align_up((t->perf.max_workers + 1) << 19, HUGE_PAGE) + HUGE_PAGE;
}

static void check_memory(const RoomTest *t, const BlockCopy *copy)
{
    size_t blocks;

    g_assert_cmpuint(staging_capacity(copy->staging) * copy->block_size, ==, STAGING);
    g_assert_cmpuint(staging_used(copy->staging), <=, staging_capacity(copy->staging));
    g_assert_cmpuint(g_slist_length(copy->huge_pages) * HUGE_PAGE, <=, most_buffers(t));
    if (copy->spill) {
        blocks = spill_limit(copy->spill) / copy->block_size;
        g_assert_cmpint(spill_used(copy->spill), <=, spill_limit(copy->spill));
        g_assert_cmpuint(spill_memory(copy->spill), <=, 17 * blocks + 65536);
    }
}

/* --- a look at the copy, while there is one --- */

static BlockCopy *find_copy(void)
{
    BlockNode *filter = block_node_find("flt");

    return filter ? cbw_node_copy(filter) : NULL;
}

static void note(RoomTest *t, const BlockCopy *copy)
{
    Seen *seen = &t->seen;

    seen->stopped |= block_copy_stopped(copy);
    seen->waiting = staging_wanted(copy->staging);
    seen->waits = staging_waits(copy->staging);
    if (copy->spill) {
        seen->spilled = MAX(seen->spilled, spill_used(copy->spill));
        seen->file_full |= spill_room(copy->spill) == 0;
        seen->file_failed |= copy->spill_error != 0;
        seen->file_failed_late |=
            copy->spill_error && sparse_bitmap_count(spill_held(copy->spill)) > 0;
    }
}

/* I2: the frozen view shows the same, wherever its blocks are now. */
static void co_look(RoomTest *t, BlockCopy *copy)
{
    g_autofree uint8_t *buf = g_malloc(LOOK_BYTES);
    int64_t offset = test_range(0, ROOM_SIZE - LOOK_BYTES), bytes = test_range(1, LOOK_BYTES);
    struct iovec iov = { buf, bytes };
    IoSlice data = io_slice(&iov, 1);
    BlockNode *owner = copy->owner;
    int ret;

    gate_enter(owner); /* the copy stays */
    ret = co_block_copy_frozen_read(copy, offset, &data);
    if (ret == 0) {
        g_assert_cmpmem(buf, bytes, t->push.snapshot + offset, bytes);
        t->walked.looks += t->seen.spilled > 0;
    } else {
        g_assert_true(t->way == WAY_SOURCE_ERROR || block_copy_error(copy));
    }
    gate_leave(owner);
}

/* --- the ways --- */

static bool has_error(const RoomTest *t)
{
    return t->way == WAY_TARGET_ERROR || t->way == WAY_SOURCE_ERROR;
}

/* Has the target been stuck for long enough? */
static bool is_there(const RoomTest *t)
{
    const Seen *seen = &t->seen;

    switch (t->way) {
    case WAY_WAIT:
        return seen->waiting && (seen->file_full || !t->args.staging_file_size);
    case WAY_CANCEL:
        return t->turn % 2 ? seen->waiting && seen->file_full : seen->spilled >= t->enough;
    case WAY_FULL:
    case WAY_TIMEOUT:
        return seen->stopped;
    case WAY_SPILL_ERROR:
        return seen->file_failed && seen->waiting;
    default:
        return seen->spilled >= t->enough || seen->stopped;
    }
}

static void release(RoomTest *t)
{
    Job *job = job_find("j");

    t->released = true;
    mem_disk(t->push.copy)->slow_ns = test_bit() ? test_range(0, 1000000) : 0;
    if (t->way == WAY_CANCEL && job) {
        t->walked.cancelled_waiting += staging_wanted(find_copy()->staging);
        job_user_cancel(job, test_bit(), NULL);
    }
    if (t->way == WAY_TARGET_ERROR) {
        mem_disk(t->push.copy)->write_errors = 200;
    }
    mem_disk(t->push.copy)->stuck = false;
}

/* The target goes on: now the job can be bothered without a wait for it. */
static void co_bother(RoomTest *t, Job *job)
{
    int what = test_range(0, 12);

    co_bother_job(job, what, t->push.disk, t->push.copy);
    if (what == 5) {
        co_look_through_filter(t->push.snapshot, ROOM_SIZE);
    }
}

static void co_live(RoomTest *t)
{
    BlockCopy *copy;
    Job *job;

    while ((job = job_find("j"))) {
        if (t->released) {
            co_bother(t, job);
        }
        if ((copy = find_copy())) {
            note(t, copy);
            check_memory(t, copy);
            if (!t->released && is_there(t)) {
                release(t);
            } else if (test_range(0, 4) == 0) {
                co_look(t, copy);
            }
        } else if (!t->released) {
            release(t);
        }
        co_sleep_ns(test_range(0, 200000));
    }
}

/* A file that cannot grow: of no bytes, or of one extent. */
static void fail_spill(BlockCopy *copy, int extents)
{
    int fd = memfd_create("spill", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    g_assert_cmpint(ftruncate(fd, extents * SPILL_EXTENT), ==, 0);
    g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), ==, 0);
    spill_free(copy->spill);
    block_copy_spill_to(copy, 64 << 20, fd);
}

static void adjust(BlockCopy *copy, void *opaque)
{
    RoomTest *t = opaque;

    copy->takes_single_blocks = test_bit();
    if (t->way == WAY_SPILL_ERROR) {
        fail_spill(copy, t->turn % 2);
    }
}

/* How large the file may be: some MiB, or there is none. */
static int64_t file_mib(const RoomTest *t)
{
    switch (t->way) {
    case WAY_FULL:
        return 1 + t->turn % 2;
    case WAY_WAIT:
    case WAY_TIMEOUT:
        return t->turn % 2;
    case WAY_CANCEL:
        return t->turn % 2 ? 1 : 64;
    default:
        return 64;
    }
}

static void set_args(RoomTest *t)
{
    static const BlockdevOnError policies[] = {
        BLOCKDEV_ON_ERROR_REPORT, BLOCKDEV_ON_ERROR_IGNORE, BLOCKDEV_ON_ERROR_STOP,
    };
    BlockdevOnError policy = policies[t->turn % G_N_ELEMENTS(policies)];

    t->perf = (BackupPerf){
        .has_max_workers = true, .max_workers = test_range(1, 5),
        .has_max_chunk = true, .max_chunk = 65536 * test_range(1, 5),
        .has_use_copy_range = true, .use_copy_range = test_bit(),
    };
    t->args = (BlockdevBackup){
        .job_id = (char *)"j", .device = (char *)"disk", .target = (char *)"copy",
        .sync = MIRROR_SYNC_MODE_FULL, .bitmap = (char *)"b", .has_bitmap_mode = true,
        .bitmap_mode = test_bit() ? BITMAP_SYNC_MODE_ON_SUCCESS : BITMAP_SYNC_MODE_ALWAYS,
        .has_on_source_error = true, .on_source_error = policy,
        .has_on_target_error = true, .on_target_error = policy,
        .x_perf = &t->perf, .filter_node_name = (char *)"flt",
        .has_staging_size = true, .staging_size = STAGING,
        .has_staging_file_size = true, .staging_file_size = file_mib(t) << 20,
        .has_staging_timeout = file_mib(t) < 2 && t->way != WAY_FULL,
        .staging_timeout = t->way == WAY_TIMEOUT ? 1 : 60,
    };
    t->enough = test_range(1, 4) << 20;
}

/* --- what came of it --- */

static void count_success(RoomTest *t)
{
    Walked *w = &t->walked;

    w->spilled += t->seen.spilled > 0;
    w->file_full += t->seen.file_full;
    w->waited += t->seen.waits > 0;
    w->file_failed += t->seen.file_failed;
    w->file_failed_late += t->seen.file_failed_late;
}

static void check_outcome(RoomTest *t)
{
    const Outcome *o = &t->push.outcome;
    bool right = o->completed && !o->failed;
    Walked *w = &t->walked;

    g_assert_true(o->completed || o->cancelled);
    g_assert_true(!o->errors || has_error(t));
    if (right && !o->errors) {
        check_all(&t->push);
        count_success(t);
    }
    switch (t->way) {
    case WAY_FULL:
    case WAY_TIMEOUT:
        g_assert_true(o->no_room && t->seen.stopped);
        w->gave_up_full += t->way == WAY_FULL;
        w->gave_up_waiting += t->way == WAY_TIMEOUT;
        break;
    case WAY_CANCEL:
        w->cancelled += o->cancelled;
        break;
    case WAY_TARGET_ERROR:
        w->target_failed += o->failed && o->errors;
        w->target_survived += right && o->errors;
        break;
    case WAY_SOURCE_ERROR:
        w->source_failed += o->failed && o->errors;
        w->source_survived += right && o->errors;
        break;
    default:
        g_assert_true(right);
    }
}

/* Whatever became of the job, the guest goes on, and never waited for longer than it may. */
static void co_check_guest(RoomTest *t)
{
    uint64_t written = t->push.guest.stamp;

    while (t->push.guest.stamp < written + 10) {
        co_sleep_ns(20000);
    }
    g_assert_cmpuint(t->push.guest.failed, ==, 0); /* I5 */
    g_assert_cmpint(t->push.guest.max_latency_ns, <, INT64_C(8) * 1000000000);
}

/* Zeroes need no room when they are saved: a disk of them would be copied in spite of all. */
static void fill_page(PushTest *t, int64_t offset)
{
    uint8_t *disk = mem_disk(t->disk)->bytes + offset;
    int64_t bytes = MIN(MEM_PAGE, ROOM_SIZE - offset);

    if (buffer_is_zero(disk, bytes)) {
        memset(disk, test_range(1, 256), bytes);
        memcpy(t->guest.model + offset, disk, bytes);
        dirty_bitmap_set(t->bitmap, offset, bytes);
    }
}

static void co_fill_disk(PushTest *t)
{
    BlockDrain *drain;

    co_control_lock();
    drain = co_block_drain_begin(t->disk);
    for (int64_t offset = 0; offset < ROOM_SIZE; offset += MEM_PAGE) {
        fill_page(t, offset);
    }
    co_block_drain_end(drain);
    control_unlock();
}

static void co_room_round(RoomTest *t)
{
    MemDisk *disk = mem_disk(t->push.disk), *copy = mem_disk(t->push.copy);

    t->way = t->round % N_WAYS;
    t->turn = t->round / N_WAYS;
    t->released = false;
    t->seen = (Seen){ 0 };
    t->push.outcome = (Outcome){ 0 };
    t->push.guest.max_latency_ns = 0;
    t->push.guest.may_fail_to_read = t->way == WAY_SOURCE_ERROR;
    set_args(t);
    co_fill_disk(&t->push);
    copy->slow_ns = 0;
    copy->stuck = true;
    disk->read_errors = t->way == WAY_SOURCE_ERROR ? 30 : 0;
    co_start_backup(&t->args, t->push.disk, t->push.snapshot, adjust, t);
    co_live(t);
    disk->read_errors = copy->write_errors = 0;
    check_outcome(t);
    co_check_guest(t);
    co_check_bits(&t->push);
}

static void check_walked(const Walked *w)
{
    g_test_message("right although spilled %u, file full %u, guest waited %u, "
                   "file failed %u, in use %u; gave up full %u, waiting %u; cancelled %u, with "
                   "waiters %u", w->spilled, w->file_full, w->waited,
                   w->file_failed, w->file_failed_late, w->gave_up_full, w->gave_up_waiting,
                   w->cancelled, w->cancelled_waiting);
    g_test_message("target failed %u, survived %u; source failed %u, survived %u; looks %u",
                   w->target_failed, w->target_survived, w->source_failed, w->source_survived,
                   w->looks);
    g_assert_true(w->spilled && w->file_full && w->waited);
    g_assert_true(w->file_failed && w->file_failed_late);
    g_assert_true(w->gave_up_full && w->gave_up_waiting);
    g_assert_true(w->cancelled && w->cancelled_waiting);
    g_assert_true(w->target_failed && w->target_survived);
    g_assert_true(w->source_failed && w->source_survived && w->looks);
}

static void co_room(void *opaque)
{
    RoomTest t = { 0 };

    co_push_begin(&t.push, ROOM_SIZE);
    for (t.round = 0; t.round < MAX(rounds(0), LEAST_ROUNDS); t.round++) {
        co_room_round(&t);
    }
    co_push_end(&t.push);
    g_test_message("%d rounds", t.round);
    check_walked(&t.walked);
}

static void test_room(void)
{
    run(co_room, NULL);
}

static void add_tests(void)
{
    g_test_add_func("/block-copy-room/rounds", test_room);
}

int main(int argc, char **argv)
{
    return copy_test_main(argc, argv, add_tests);
}
