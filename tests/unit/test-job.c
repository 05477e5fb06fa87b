/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The job machine without block nodes: its tables, transactions, pause, cancel and drain. */
#include <errno.h>
#include <string.h>

#include "block/control.h"
#include "block/jobs/job-int.h"
#include "qmp-schema/event-sink.h"
#include "tests/unit/loop-util.h"

/* --- tables: against QEMU's own, row by row --- */

static const char *const transitions[JOB_STATUS__MAX] = {
    /*                         UCRPYSWDXEN */
    [JOB_STATUS_UNDEFINED] =  ".x.........",
    [JOB_STATUS_CREATED] =    "..x.....x.x",
    [JOB_STATUS_RUNNING] =    "...xx.x.x..",
    [JOB_STATUS_PAUSED] =     "..x........",
    [JOB_STATUS_READY] =      ".....xx.x..",
    [JOB_STATUS_STANDBY] =    "....x......",
    [JOB_STATUS_WAITING] =    ".......xx..",
    [JOB_STATUS_PENDING] =    "........xx.",
    [JOB_STATUS_ABORTING] =   "........xx.",
    [JOB_STATUS_CONCLUDED] =  "..........x",
    [JOB_STATUS_NULL] =       "...........",
};

static const char *const verbs[JOB_VERB__MAX] = {
    /*                      UCRPYSWDXEN */
    [JOB_VERB_CANCEL] =    ".xxxxxxx...",
    [JOB_VERB_PAUSE] =     ".xxxxx.....",
    [JOB_VERB_RESUME] =    ".xxxxx.....",
    [JOB_VERB_SET_SPEED] = ".xxxxx.....",
    [JOB_VERB_COMPLETE] =  "....x......",
    [JOB_VERB_FINALIZE] =  ".......x...",
    [JOB_VERB_DISMISS] =   ".........x.",
    [JOB_VERB_CHANGE] =    ".xxxxx.....",
};

static void test_tables(void)
{
    for (int from = 0; from < JOB_STATUS__MAX; from++) {
        for (int to = 0; to < JOB_STATUS__MAX; to++) {
            g_assert_cmpint(job_may_become(from, to), ==, transitions[from][to] == 'x');
        }
        for (int verb = 0; verb < JOB_VERB__MAX; verb++) {
            g_assert_cmpint(job_may_take(from, verb), ==, verbs[verb][from] == 'x');
        }
    }
}

/* --- a job that does as it is told --- */

typedef struct PlayJob {
    Job job;
    int steps;      /* pause points on the way */
    int result, prepare_result;
    bool till_cancelled;
    GString *log;   /* what happened, of all jobs */
} PlayJob;

static int co_play_run(Job *job, GError **errp)
{
    PlayJob *play = (PlayJob *)job;

    for (int i = 0; i < play->steps && !job_is_cancelled(job); i++) {
        co_job_sleep(job, 1000);
    }
    while (play->till_cancelled && !job_is_cancelled(job)) {
        co_job_wait(job, INT64_MAX);
        co_job_pause_point(job);
    }
    return play->result;
}

static int co_play_prepare(Job *job, GError **errp)
{
    g_string_append_printf(((PlayJob *)job)->log, "%s:prepare ", job->id);
    return ((PlayJob *)job)->prepare_result;
}

static void co_play_finish(Job *job, bool success)
{
    g_assert_true(control_locked_by_me());
    g_string_append_printf(((PlayJob *)job)->log, "%s:%s ", job->id, success ? "commit" : "abort");
}

static void play_news(Job *job, JobNews news)
{
    static const char *const names[] = { "READY", "PENDING", "COMPLETED", "CANCELLED" };

    g_string_append_printf(((PlayJob *)job)->log, "%s:%s ", job->id, names[news]);
}

static const JobDriver play_driver = {
    .type = JOB_TYPE_BACKUP,
    .size = sizeof(PlayJob),
    .co_run = co_play_run,
    .co_prepare = co_play_prepare,
    .co_finish = co_play_finish,
    .news = play_news,
};

typedef struct Play {
    GString *log;
    PlayJob *a, *b;
} Play;

static PlayJob *play_new(Play *play, const char *id, JobTxn *txn, bool auto_finalize)
{
    PlayJob *job = job_create(&play_driver, id, txn, auto_finalize, true, NULL);

    g_assert_nonnull(job);
    job->log = play->log;
    job->steps = 3;
    return job;
}

static void note_status(const char *name, json_t *data, void *opaque)
{
    GString *log = opaque;

    if (strcmp(name, "JOB_STATUS_CHANGE") == 0) {
        g_string_append_printf(log, "%s=%s ", json_string_value(json_object_get(data, "id")),
                               json_string_value(json_object_get(data, "status")));
    }
    json_decref(data);
}

static void co_wait_gone(const char *id)
{
    while (job_find(id)) {
        co_sleep_ns(10000);
    }
}

static void co_wait_status(const char *id, JobStatus status)
{
    while (job_status(job_find(id)) != status) {
        co_sleep_ns(10000);
    }
}

static void play_check(Play *play, const char *expected)
{
    g_assert_cmpstr(play->log->str, ==, expected);
    g_string_truncate(play->log, 0);
}

static void co_lives(void *opaque)
{
    Play *play = opaque;
    g_autoptr(GError) error = NULL;

    job_start(&play_new(play, "a", NULL, true)->job, loop_current());
    co_wait_gone("a");
    play_check(play, "a=created a=running a=waiting a=pending a:prepare a:commit a:COMPLETED "
                     "a=concluded a=null ");

    play->a = play_new(play, "a", NULL, true);
    play->a->result = -EIO;
    job_start(&play->a->job, loop_current());
    co_wait_gone("a");
    play_check(play, "a=created a=running a=aborting a:abort a:COMPLETED a=concluded a=null ");

    play->a = play_new(play, "a", NULL, true);
    play->a->till_cancelled = true;
    job_start(&play->a->job, loop_current());
    g_assert_true(job_user_pause(&play->a->job, &error));
    co_wait_status("a", JOB_STATUS_PAUSED);
    g_assert_false(job_user_pause(&play->a->job, &error));
    g_assert_cmpstr(error->message, ==, "Job is already paused");
    g_clear_error(&error);
    g_assert_false(job_user_complete(&play->a->job, &error));
    g_assert_cmpstr(error->message, ==,
                    "Job 'a' in state 'paused' cannot accept command verb 'complete'");
    g_assert_true(job_user_cancel(&play->a->job, false, NULL));
    co_wait_gone("a");
    play_check(play, "a=created a=running a=paused a=running a=aborting a:abort a:CANCELLED "
                     "a=concluded a=null ");

    job_discard(&play_new(play, "a", NULL, true)->job);
    play_check(play, "a=created a=null ");
    play->a = play_new(play, "a", NULL, true);
    co_control_lock();
    co_job_abort_unstarted(&play->a->job);
    control_unlock();
    play_check(play, "a=created a=aborting a:abort a=concluded a=null ");
}

static void co_ids(void *opaque)
{
    static const char *const bad[] = { "", "1bad", "-x", "a b", "ä", NULL };
    g_autoptr(GError) error = NULL;
    PlayJob *job = play_new(opaque, "a.b-c_1", NULL, true);

    g_assert_null(job_create(&play_driver, "a.b-c_1", NULL, true, true, &error));
    g_assert_cmpstr(error->message, ==, "Job ID 'a.b-c_1' already in use");
    g_clear_error(&error);
    for (int i = 0; bad[i]; i++) {
        g_autofree char *expected = g_strdup_printf("Invalid job ID '%s'", bad[i]);

        g_assert_null(job_create(&play_driver, bad[i], NULL, true, true, &error));
        g_assert_cmpstr(error->message, ==, expected);
        g_clear_error(&error);
    }
    job_discard(&job->job);
}

/* --- transactions --- */

static void play_two(Play *play, bool auto_finalize)
{
    JobTxn *txn = job_txn_new();

    play->a = play_new(play, "a", txn, auto_finalize);
    play->b = play_new(play, "b", txn, true);
    job_txn_unref(txn);
    g_string_truncate(play->log, 0);
}

static void co_start_two(Play *play)
{
    job_start(&play->a->job, loop_current());
    job_start(&play->b->job, loop_current());
}

static void co_txn(void *opaque)
{
    Play *play = opaque;

    /* The second to end brings both forward; all prepare before any commits. */
    play_two(play, true);
    play->b->steps = 200;
    co_start_two(play);
    co_wait_gone("a");
    co_wait_gone("b");
    play_check(play, "a=running b=running a=waiting b=waiting b=pending a=pending b:prepare "
                     "a:prepare b:commit b:COMPLETED b=concluded b=null a:commit a:COMPLETED "
                     "a=concluded a=null ");

    /* One fails: the other, which runs for ever, is cancelled. */
    play_two(play, true);
    play->a->result = -ENOSPC;
    play->b->till_cancelled = true;
    co_start_two(play);
    co_wait_gone("a");
    co_wait_gone("b");
    play_check(play, "a=running b=running a=aborting b=aborting b:abort b:CANCELLED b=concluded "
                     "b=null a:abort a:COMPLETED a=concluded a=null ");

    /* One fails to prepare, after both ended well. */
    play_two(play, true);
    play->b->steps = 200;
    play->a->prepare_result = -EIO;
    co_start_two(play);
    co_wait_gone("a");
    co_wait_gone("b");
    play_check(play, "a=running b=running a=waiting b=waiting b=pending a=pending b:prepare "
                     "a:prepare b=aborting a=aborting b:abort b:CANCELLED b=concluded b=null "
                     "a:abort a:COMPLETED a=concluded a=null ");
}

static void co_manual(void *opaque)
{
    Play *play = opaque;
    g_autoptr(GError) error = NULL;

    /* One that is not to be finalized by itself holds all back; finalizing either will do. */
    play_two(play, false);
    co_start_two(play);
    co_wait_status("b", JOB_STATUS_PENDING);
    g_string_truncate(play->log, 0);
    g_assert_true(co_job_user_finalize(&play->b->job, &error));
    g_assert_null(job_find("a"));
    g_assert_null(job_find("b"));
    play_check(play, "b:prepare a:prepare b:commit b:COMPLETED b=concluded b=null a:commit "
                     "a:COMPLETED a=concluded a=null ");

    /* Cancelled while pending. */
    play_two(play, false);
    co_start_two(play);
    co_wait_status("b", JOB_STATUS_PENDING);
    g_string_truncate(play->log, 0);
    g_assert_true(job_user_cancel(&play->a->job, true, &error));
    co_wait_gone("a");
    co_wait_gone("b");
    play_check(play, "b=aborting a=aborting b:abort b:CANCELLED b=concluded b=null a:abort "
                     "a:CANCELLED a=concluded a=null ");
}

/* --- drain, other loops, the end of the process --- */

static void co_drained(void *opaque)
{
    Play *play = opaque;

    play->a = play_new(play, "a", NULL, true);
    play->a->till_cancelled = true;
    job_start(&play->a->job, loop_current());
    co_sleep_ns(1000000);
    job_set_drained(&play->a->job, true);
    g_assert_true(job_user_cancel(&play->a->job, true, NULL));
    co_sleep_ns(2000000);
    g_assert_false(job_busy(&play->a->job));
    g_assert_nonnull(job_find("a")); /* the end waits for the end of the drained section */
    job_set_drained(&play->a->job, false);
    co_wait_gone("a");
}

static void co_moved(void *opaque)
{
    Play *play = opaque;
    Loop *others[2] = { loop_new("one", NULL), loop_new("two", NULL) };

    for (int i = 0; i < 2; i++) {
        g_assert_true(loop_start_thread(others[i], NULL));
    }
    play->a = play_new(play, "a", NULL, true);
    play->a->till_cancelled = true;
    job_start(&play->a->job, others[0]);
    for (int i = 0; i < 200; i++) {
        job_set_drained(&play->a->job, true);
        while (job_busy(&play->a->job)) {
            co_sleep_ns(1000);
        }
        job_set_loop(&play->a->job, others[i % 2]);
        job_set_drained(&play->a->job, false);
        job_kick(&play->a->job);
    }
    co_jobs_cancel_all();
    g_assert_null(job_find("a"));
    for (int i = 0; i < 2; i++) {
        loop_free(others[i]);
    }
}

static void co_cancel_all(void *opaque)
{
    Play *play = opaque;

    play_two(play, false);
    co_start_two(play);
    co_wait_status("b", JOB_STATUS_PENDING);
    job_start(&play_new(play, "c", NULL, true)->job, loop_current());
    co_jobs_cancel_all();
    g_assert_null(job_find("a"));
    g_assert_null(job_find("c"));
}

/* --- */

typedef struct Body {
    CoFn *fn;
    Play play;
} Body;

static void co_body(void *opaque)
{
    Body *body = opaque;

    control_init(loop_current());
    body->fn(&body->play);
}

static void run(gconstpointer fn)
{
    Body body = { .fn = *(CoFn *const *)fn, .play.log = g_string_new(NULL) };

    qmp_event_set_sink(note_status, body.play.log);
    run_in_co(co_body, &body);
    qmp_event_set_sink(NULL, NULL);
    g_string_free(body.play.log, true);
}

static const struct {
    const char *path;
    CoFn *fn;
} tests[] = {
    { "/job/lives", co_lives },         { "/job/ids", co_ids },
    { "/job/transactions", co_txn },    { "/job/manual", co_manual },
    { "/job/drained", co_drained },     { "/job/moved", co_moved },
    { "/job/cancel-all", co_cancel_all },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/job/tables", test_tables);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_test_add_data_func(tests[i].path, &tests[i].fn, run);
    }
    return g_test_run();
}
