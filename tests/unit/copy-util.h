/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For the tests of copies against a model: what those of push and of pull share. */
#ifndef TESTS_UNIT_COPY_UTIL_H
#define TESTS_UNIT_COPY_UTIL_H

#include "block/copy/copy-int.h"
#include "block/filters/copy-before-write.h"
#include "block/jobs/backup.h"
#include "qmp-schema/event-sink.h"
#include "tests/unit/mem-disk.h"

#define SIZE ((3 << 20) + 12800)
#define GRANULE 65536

static inline int rounds(int usual)
{
    const char *given = g_getenv("TIDEMARK_ROUNDS");

    return given ? atoi(given) : usual;
}

/* What the last job came to. */
typedef struct Outcome {
    bool completed, cancelled, failed;
    bool no_room; /* it failed for want of room for what was saved */
    unsigned errors;
} Outcome;

static inline void note_event(const char *name, json_t *data, void *opaque)
{
    Outcome *outcome = opaque;
    const char *error;

    if (strcmp(name, "BLOCK_JOB_COMPLETED") == 0) {
        outcome->completed = true;
        error = json_string_value(json_object_get(data, "error"));
        outcome->failed = error != NULL;
        outcome->no_room = error && strstr(error, "writes faster than its old data");
    }
    outcome->cancelled |= strcmp(name, "BLOCK_JOB_CANCELLED") == 0;
    outcome->errors += strcmp(name, "BLOCK_JOB_ERROR") == 0;
    json_decref(data);
}

/*
 * As the command does it, with a look at the disk at the instant.  @adjust (may be NULL) may change
 * what the job's filter works with, before the first request.
 */
static inline void co_start_backup(const BlockdevBackup *args, BlockNode *source, uint8_t *snapshot,
                                   void (*adjust)(BlockCopy *copy, void *opaque), void *opaque)
{
    g_autoptr(GError) error = NULL;
    BlockDrain *drain;
    BlockJob *job;

    co_control_lock();
    drain = co_block_drain_begin(source);
    job = co_backup_prepare(args, NULL, &error);
    g_assert_no_error(error);
    if (adjust) {
        adjust(cbw_node_copy(block_node_find(args->filter_node_name)), opaque);
    }
    memcpy(snapshot, mem_disk(source)->bytes, source->size);
    co_block_drain_end(drain);
    block_job_start(job);
    control_unlock();
}

static inline void co_drain_once(BlockNode *node)
{
    BlockDrain *drain;

    co_control_lock();
    drain = co_block_drain_begin(node);
    g_assert_cmpint(node->in_flight, ==, 0);
    co_pass();
    co_block_drain_end(drain);
    control_unlock();
}

/* --- */

typedef struct Body {
    CoFn *fn;
    void *opaque;
} Body;

static inline void co_body(void *opaque)
{
    Body *body = opaque;

    control_init(loop_current());
    block_drivers_register();
    block_driver_register(&mem_driver);
    body->fn(body->opaque);
}

static inline void run(CoFn *fn, void *opaque)
{
    Body body = { fn, opaque };

    run_in_co(co_body, &body);
}

/* The whole of main(): @add adds the tests. */
static inline int copy_test_main(int argc, char **argv, void (*add)(void))
{
    const char *given = g_getenv("TIDEMARK_SEED");
    uint32_t seed = given ? strtoul(given, NULL, 0) : g_random_int();
    int ret;

    g_test_init(&argc, &argv, NULL);
    test_rand = g_rand_new_with_seed(seed);
    g_test_message("TIDEMARK_SEED=%u", seed);
    add();
    ret = g_test_run();
    g_rand_free(test_rand);
    return ret;
}

#endif
