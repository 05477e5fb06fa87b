/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pace of copiers, on a simulated disk: a queue that serves one request after the other, for
 * a guest that has some requests in flight all the time (or thinks between them) and one or two
 * copiers.
 */
#include <string.h>

#include <glib.h>

#include "block/copy/pace.h"

#define MS INT64_C(1000000)
#define S (1000 * MS)
#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define UNIT (64 * KIB)
#define USUAL (512 * KIB)
#define WIDEST (8 * MIB)
#define MOST_GUESTS 16
#define MOST_COPIERS 2

typedef struct Sim {
    unsigned copiers;
    Pace pace[MOST_COPIERS];
    int64_t now, free_at;      /* the disk is busy until then */
    int64_t bytes_per_second, op_ns;
    int64_t think_ns;          /* of a guest between two requests */
    unsigned guests;
    int64_t began[MOST_GUESTS], ends[MOST_GUESTS];
    bool active[MOST_GUESTS];
    GArray *reads;             /* of Read */
    int64_t copied, copied_by[MOST_COPIERS], longest_gap, last_copied;
    int64_t latency_sum, requests;
} Sim;

typedef struct Read {
    unsigned copier;
    int64_t began, ends, bytes;
} Read;

static int64_t serve(Sim *sim, int64_t bytes)
{
    sim->free_at = MAX(sim->free_at, sim->now) + sim->op_ns + bytes * S / sim->bytes_per_second;
    return sim->free_at;
}

static void guest_begins(Sim *sim, unsigned i)
{
    for (unsigned c = 0; c < sim->copiers; c++) {
        pace_guest_begin(&sim->pace[c], sim->now);
    }
    sim->active[i] = true;
    sim->began[i] = sim->now;
}

static void guest_ends(Sim *sim, unsigned i)
{
    for (unsigned c = 0; c < sim->copiers; c++) {
        pace_guest_end(&sim->pace[c], sim->now, sim->began[i], true);
    }
    sim->active[i] = false;
}

static void guest_step(Sim *sim, unsigned i)
{
    if (sim->now < sim->ends[i]) {
        return;
    }
    if (sim->active[i]) {
        guest_ends(sim, i);
        sim->latency_sum += sim->now - sim->began[i];
        sim->requests++;
        sim->ends[i] = sim->now + sim->think_ns;
        if (sim->think_ns) {
            return;
        }
    }
    guest_begins(sim, i);
    sim->ends[i] = serve(sim, 4 * KIB);
}

static void reads_end(Sim *sim)
{
    for (guint i = 0; i < sim->reads->len;) {
        Read read = g_array_index(sim->reads, Read, i);

        if (read.ends > sim->now) {
            i++;
            continue;
        }
        pace_read_end(&sim->pace[read.copier], sim->now, read.began, read.bytes);
        sim->copied += read.bytes;
        sim->copied_by[read.copier] += read.bytes;
        sim->longest_gap = MAX(sim->longest_gap, sim->now - sim->last_copied);
        sim->last_copied = sim->now;
        g_array_remove_index_fast(sim->reads, i);
    }
}

static void copier_step(Sim *sim, unsigned copier)
{
    Pace *pace = &sim->pace[copier];
    int64_t wake;

    while (pace_may_read(pace, sim->now, UNIT, &wake)) {
        int64_t bytes = pace_read_size(pace, UNIT, USUAL);
        Read read = { copier, sim->now, serve(sim, bytes), bytes };

        pace_read_begin(pace, bytes);
        g_array_append_val(sim->reads, read);
    }
}

static Sim *sim_new(const PaceRules *rules, unsigned guests, int64_t think_ns,
                    int64_t bytes_per_second, int64_t op_ns)
{
    Sim *sim = g_new0(Sim, 1);

    *sim = (Sim){ .copiers = 1, .now = S, .last_copied = S, .guests = guests, .think_ns = think_ns,
                  .bytes_per_second = bytes_per_second, .op_ns = op_ns,
                  .reads = g_array_new(false, false, sizeof(Read)) };
    for (unsigned c = 0; c < MOST_COPIERS; c++) {
        pace_init(&sim->pace[c], rules, WIDEST, 8 * MIB, sim->now);
    }
    return sim;
}

static void sim_free(Sim *sim)
{
    g_array_free(sim->reads, true);
    g_free(sim);
}

/* Goes on for so long; returns the bytes copied a second, and the guest's mean latency. */
static int64_t sim_run(Sim *sim, int64_t ns, bool with_copier, int64_t *latency)
{
    int64_t end = sim->now + ns;

    memset(sim->copied_by, 0, sizeof(sim->copied_by));
    sim->copied = sim->latency_sum = sim->requests = sim->longest_gap = 0;
    sim->last_copied = sim->now;
    for (; sim->now < end; sim->now += 2000) {
        for (unsigned i = 0; i < sim->guests; i++) {
            guest_step(sim, i);
        }
        reads_end(sim);
        for (unsigned c = 0; with_copier && c < sim->copiers; c++) {
            copier_step(sim, c);
        }
    }
    *latency = sim->requests ? sim->latency_sum / sim->requests : 0;
    return sim->copied * S / ns;
}

/* Nobody else is there: the disk is full at once. */
static void test_no_guest(void)
{
    Sim *sim = sim_new(&pace_of_copier, 0, 0, 500 * MIB, 10000);
    int64_t latency, speed = sim_run(sim, S, true, &latency);

    g_assert_cmpint(speed, >, 470 * MIB);
    g_assert_cmpint(pace_added_ns(&sim->pace[0], sim->now), ==, 0);
    sim_free(sim);
}

/* A guest that keeps the disk busy by itself gets more than half of what it had. */
static void test_busy_guest(void)
{
    Sim *sim = sim_new(&pace_of_copier, MOST_GUESTS, 0, 500 * MIB, 10000);
    int64_t alone, beside, speed;

    sim_run(sim, S, false, &alone);
    speed = sim_run(sim, 5 * S, true, &beside);
    g_test_message("alone %" G_GINT64_FORMAT " ns, beside %" G_GINT64_FORMAT " ns, %"
                   G_GINT64_FORMAT " bytes/s", alone, beside, speed);
    g_assert_cmpint(beside, <, 2 * alone);
    g_assert_cmpint(speed, >, 50 * MIB);
    g_assert_cmpint(pace_added_ns(&sim->pace[0], sim->now), >, 0);
    sim_free(sim);
}

/*
 * Two copiers of one disk: neither takes the other for the disk's nature, the guest gets what it
 * gets beside one, and neither of them starves.
 */
static void test_two_copiers(void)
{
    Sim *sim = sim_new(&pace_of_copier, MOST_GUESTS, 0, 500 * MIB, 10000);
    int64_t alone, beside, speed;

    sim->copiers = 2;
    sim_run(sim, S, false, &alone);
    sim_run(sim, 2 * S, true, &beside);
    speed = sim_run(sim, 5 * S, true, &beside);
    g_test_message("alone %" G_GINT64_FORMAT " ns, beside %" G_GINT64_FORMAT " ns, %"
                   G_GINT64_FORMAT " bytes/s, %" G_GINT64_FORMAT " of them by the first",
                   alone, beside, speed, sim->copied_by[0] / 5);
    g_assert_cmpint(beside, <, 2 * alone);
    g_assert_cmpint(speed, >, 50 * MIB);
    g_assert_cmpint(sim->copied_by[0] * 4, >, sim->copied);
    g_assert_cmpint(sim->copied_by[1] * 4, >, sim->copied);
    sim_free(sim);
}

/* One that asks now and then does not meet a long queue, and leaves the copier most of the disk. */
static void test_light_guest(void)
{
    Sim *sim = sim_new(&pace_of_copier, 1, 5 * MS, 500 * MIB, 10000);
    int64_t alone, beside, speed;

    sim_run(sim, S, false, &alone);
    sim_run(sim, S, true, &beside);
    speed = sim_run(sim, 5 * S, true, &beside);
    g_test_message("alone %" G_GINT64_FORMAT " ns, beside %" G_GINT64_FORMAT " ns, %"
                   G_GINT64_FORMAT " bytes/s", alone, beside, speed);
    g_assert_cmpint(beside, <, MS);
    g_assert_cmpint(speed, >, 250 * MIB);
    sim_free(sim);
}

/* Readers of a view: nobody is kept waiting for long, whatever the guest does. */
static void test_readers(void)
{
    static const int64_t think_ns[] = { 0, 5 * MS, 25 * MS, 400 * MS };

    for (unsigned i = 0; i < G_N_ELEMENTS(think_ns); i++) {
        Sim *sim = sim_new(&pace_of_readers, i ? 1 : MOST_GUESTS, think_ns[i], 500 * MIB, 10000);
        int64_t alone, beside, speed;

        sim_run(sim, S, false, &alone);
        sim_run(sim, S, true, &beside);
        speed = sim_run(sim, 5 * S, true, &beside);
        g_test_message("think %" G_GINT64_FORMAT ": alone %" G_GINT64_FORMAT " ns, beside %"
                       G_GINT64_FORMAT " ns, %" G_GINT64_FORMAT " bytes/s, longest gap %"
                       G_GINT64_FORMAT, think_ns[i], alone, beside, speed, sim->longest_gap);
        g_assert_cmpint(sim->longest_gap, <, 50 * MS);
        if (i == 0) {
            g_assert_cmpint(beside, <, 2 * alone);
        } else {
            g_assert_cmpint(speed, >, 250 * MIB);
        }
        sim_free(sim);
    }
}

/* However busy the guest is: the least speed, without long pauses. */
static void test_least_speed(void)
{
    Sim *sim = sim_new(&pace_of_copier, MOST_GUESTS, 0, 2000 * MIB, 400000);
    int64_t latency, speed;

    sim_run(sim, S, true, &latency);
    speed = sim_run(sim, 5 * S, true, &latency);
    g_assert_cmpint(speed, >, 4 * MIB);
    g_assert_cmpint(sim->longest_gap, <, 200 * MS);
    sim_free(sim);
}

/*
 * Who was held up in the middle of a quiet, for as long as somebody liked (a paused job), has not
 * learnt that quiets take so long: the next one comes as soon as ever.
 */
static void test_held_up_in_quiet(void)
{
    Sim *sim = sim_new(&pace_of_copier, MOST_GUESTS, 0, 500 * MIB, 10000);
    Pace *pace = &sim->pace[0];
    int64_t latency;

    sim_run(sim, S, true, &latency);
    while (pace->phase != PACE_QUIET) {
        sim_run(sim, 2000, true, &latency);
    }
    sim_run(sim, 10 * S, false, &latency);
    sim_run(sim, 2 * S, true, &latency);
    g_assert_cmpint(sim->now - pace->quiet_at, <, S);
    sim_free(sim);
}

/* The pause after a long read ends when the guest does: whoever waits for it asks in time. */
static void test_pause_ends_with_guest(void)
{
    Sim *sim = sim_new(&pace_of_readers, MOST_GUESTS, 0, 2000 * MIB, 400000);
    Pace *pace = &sim->pace[0];
    int64_t latency, began, wake = 0;

    sim_run(sim, S, true, &latency);
    g_assert_cmpint(pace->window, <, WIDEST / 2);
    began = sim->now;
    pace_read_begin(pace, WIDEST);
    sim_run(sim, 100 * MS, false, &latency);
    pace_read_end(pace, sim->now, began, WIDEST);
    for (unsigned i = 0; i < MOST_GUESTS; i++) {
        if (sim->active[i]) {
            guest_ends(sim, i);
        }
    }
    for (began = sim->now; !pace_may_read(pace, sim->now, UNIT, &wake); sim->now = wake) {
        g_assert_cmpint(wake, >, sim->now);
        g_assert_cmpint(wake - began, <, 100 * MS);
    }
    sim_free(sim);
}

/* When the guest stops the copier takes all, and gives it back when the guest returns. */
static void test_guest_comes_and_goes(void)
{
    Sim *sim = sim_new(&pace_of_copier, MOST_GUESTS, 0, 500 * MIB, 10000);
    int64_t alone, beside, speed;

    sim_run(sim, S, false, &alone);
    for (unsigned round = 0; round < 3; round++) {
        sim->guests = 0;
        for (unsigned i = 0; i < MOST_GUESTS; i++) {
            if (sim->active[i]) {
                guest_ends(sim, i);
            }
        }
        sim_run(sim, S, true, &beside);
        speed = sim_run(sim, S, true, &beside);
        g_assert_cmpint(speed, >, 470 * MIB);
        sim->guests = MOST_GUESTS;
        sim_run(sim, S / 4, true, &beside);
        sim_run(sim, 2 * S, true, &beside);
        g_assert_cmpint(beside, <, 2 * alone);
    }
    sim_free(sim);
}

/* Each request takes longer than a quiet is meant to last: the copier goes on nevertheless. */
static void test_slow_disk(void)
{
    int64_t op_ns[] = { 6 * MS, 60 * MS };

    for (unsigned i = 0; i < G_N_ELEMENTS(op_ns); i++) {
        Sim *sim = sim_new(&pace_of_copier, MOST_GUESTS, 0, 500 * MIB, op_ns[i]);
        int64_t latency, speed = sim_run(sim, 20 * S, true, &latency);

        g_assert_cmpint(latency, >, 60 * MS);
        g_assert_cmpint(speed, >, UNIT / 2);
        g_assert_cmpint(sim->longest_gap, <, 5 * S);
        sim_free(sim);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pace/no-guest", test_no_guest);
    g_test_add_func("/pace/busy-guest", test_busy_guest);
    g_test_add_func("/pace/two-copiers", test_two_copiers);
    g_test_add_func("/pace/light-guest", test_light_guest);
    g_test_add_func("/pace/readers", test_readers);
    g_test_add_func("/pace/least-speed", test_least_speed);
    g_test_add_func("/pace/slow-disk", test_slow_disk);
    g_test_add_func("/pace/held-up-in-quiet", test_held_up_in_quiet);
    g_test_add_func("/pace/pause-ends-with-guest", test_pause_ends_with_guest);
    g_test_add_func("/pace/guest-comes-and-goes", test_guest_comes_and_goes);
    return g_test_run();
}
