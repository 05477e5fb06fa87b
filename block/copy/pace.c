/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The copier gives way to the guest; see pace.h. */
#include "block/copy/pace.h"

#include <glib.h>

#define MS INT64_C(1000000)

/* While the guest is idle the window doubles in each of these. */
#define IDLE_STEP_NS (2 * MS)

/* The guest's requests may take so much longer where it has none in flight for most of the time. */
#define SLACK_NS (300000)
/* A step is judged by so many requests, in at least and at most so long. */
#define STEP_SAMPLES 32
#define STEP_NS (10 * MS)
#define STEP_MAX_NS (200 * MS)

/* The quiet lasts for so many requests, but no shorter than others on this host need. */
#define QUIET_SAMPLES 16
#define QUIET_MIN_NS (4 * MS)
/* From one quiet to the next, in multiples of how long the last one took. */
#define PERIOD_PER_QUIET 16

/* The window where the guest comes back; it is never less than a part of that. */
#define FIRST_WINDOW (INT64_C(64) << 10)
#define LEAST_WINDOW (FIRST_WINDOW / 16)

/* The periods are multiples of one another: quiets meet. */
#define PERIOD_NS (256 * MS)

const PaceRules pace_of_copier = {
    .too_slow = 140,
    .fast_enough = 120,
    .idle_ns = 500 * MS,
    .stopping_ns = 8 * MS,
    .quiet_ns = 50 * MS,
    .quiet_for_one_ns = 500 * MS,
    .period_ns = PERIOD_NS,
};

const PaceRules pace_of_readers = {
    .too_slow = 180,
    .fast_enough = 155,
    .idle_ns = 20 * MS,
    .stopping_ns = 8 * MS,
    .quiet_ns = 10 * MS,
    .quiet_for_one_ns = 10 * MS,
    .period_ns = 2 * PERIOD_NS,
};

void pace_init(Pace *p, const PaceRules *rules, int64_t max, int64_t least_speed, int64_t now)
{
    *p = (Pace){
        .rules = rules,
        .max = MAX(max, FIRST_WINDOW), .least_speed = MAX(least_speed, 1), .window = FIRST_WINDOW,
        .phase = PACE_RUNNING, .phase_start = now, .step_start = now, .last_guest = INT64_MIN,
    };
}

static bool is_idle(const Pace *p, int64_t now)
{
    return !p->guests && (p->last_guest == INT64_MIN || now - p->last_guest > p->rules->idle_ns);
}

static void start_step(Pace *p, int64_t now)
{
    p->step_start = now;
    p->samples = 0;
    p->sum_ns = 0;
    p->busy_ns = 0;
    p->busy_since = now;
}

/* Of the time since the step began; at most all of it. */
static int64_t busy_time(const Pace *p, int64_t now)
{
    return p->busy_ns + (p->guests ? now - p->busy_since : 0);
}

static void enter(Pace *p, PacePhase phase, int64_t now)
{
    p->phase = phase;
    p->phase_start = now;
    start_step(p, now);
}

static void set_window(Pace *p, int64_t window)
{
    p->window = CLAMP(window, LEAST_WINDOW, p->max);
}

/* --- the phases --- */

static void idle_step(Pace *p, int64_t now)
{
    if (p->phase != PACE_RUNNING) {
        enter(p, PACE_RUNNING, now);
    } else if (now - p->step_start >= IDLE_STEP_NS) {
        set_window(p, MAX(p->window, FIRST_WINDOW) * 2);
        start_step(p, now);
    }
}

static bool step_is_over(const Pace *p, int64_t now)
{
    int64_t took = now - p->step_start;

    return p->samples && took >= STEP_NS && (p->samples >= STEP_SAMPLES || took >= STEP_MAX_NS);
}

/* By how much the requests take longer than in the quiet: never narrower than by half at once. */
static void adapt(Pace *p, int64_t now)
{
    int64_t took = MAX(1, now - p->step_start);
    int64_t slack = SLACK_NS * (took - busy_time(p, now)) / took, percent;

    p->loaded_ns = p->sum_ns / p->samples;
    percent = MAX(0, p->loaded_ns - slack) * 100 / p->quiet_ns;
    if (percent > p->rules->too_slow) {
        set_window(p, p->window * MAX(50, p->rules->fast_enough * 100 / percent) / 100);
    } else if (percent < p->rules->fast_enough) {
        set_window(p, p->window + p->window / 5 + 1);
    }
}

/*
 * By the clock, which all copiers on this host have in common: what one of them does would be taken
 * for the disk's or the processor's nature by another, if they did not hold still together.
 */
static int64_t last_tick(const Pace *p, int64_t now)
{
    int64_t period = p->rules->period_ns;

    while (period < PERIOD_PER_QUIET * p->quiet_took) {
        period *= 2;
    }
    return now - now % period;
}

static bool quiet_is_due(const Pace *p, int64_t now)
{
    return p->phase_start < last_tick(p, now);
}

/* A quiet that told nothing does not keep the copier from going on, one read at a time. */
static void running_step(Pace *p, int64_t now)
{
    if (quiet_is_due(p, now)) {
        enter(p, PACE_STOPPING, now);
    } else if (step_is_over(p, now)) {
        if (p->quiet_ns) {
            adapt(p, now);
        }
        start_step(p, now);
    }
}

/* If it took longer than the longest nobody has asked: that says nothing of the disk. */
static void quiet_step(Pace *p, int64_t now)
{
    int64_t longest = p->samples ? p->rules->quiet_ns : p->rules->quiet_for_one_ns;
    int64_t took = MIN(now - p->phase_start, longest), mean;

    if ((p->samples < QUIET_SAMPLES || took < QUIET_MIN_NS) && took < longest) {
        return;
    }
    p->quiet_at = now;
    if (p->samples) {
        mean = MAX(1, p->sum_ns / p->samples);
        p->quiet_ns = p->quiet_ns ? (3 * p->quiet_ns + mean) / 4 : mean;
    }
    p->quiet_took = took;
    enter(p, PACE_RUNNING, now);
}

static void step(Pace *p, int64_t now)
{
    if (is_idle(p, now)) {
        idle_step(p, now);
        return;
    }
    if (p->phase == PACE_STOPPING && now - p->phase_start >= p->rules->stopping_ns) {
        enter(p, PACE_QUIET, now);
    }
    if (p->phase == PACE_QUIET) {
        quiet_step(p, now);
    }
    if (p->phase == PACE_RUNNING) {
        running_step(p, now);
    }
}

/* --- the guest --- */

/* To a full queue: the copier is narrow until the guest was asked, unless it was a moment ago. */
static void come_back(Pace *p, int64_t now)
{
    set_window(p, FIRST_WINDOW);
    if (!p->quiet_at || now - p->quiet_at > 2 * p->rules->period_ns) {
        p->quiet_ns = 0;
    }
    enter(p, PACE_RUNNING, now);
}

void pace_guest_begin(Pace *p, int64_t now)
{
    if (is_idle(p, now)) {
        come_back(p, now);
    }
    if (p->guests++ == 0) {
        p->busy_since = now;
    }
    p->last_guest = now;
}

void pace_guest_end(Pace *p, int64_t now, int64_t began, bool counts)
{
    if (--p->guests == 0) {
        p->busy_ns += now - p->busy_since;
    }
    p->last_guest = now;
    if (counts && began >= p->phase_start) {
        p->samples++;
        p->sum_ns += now - began;
    }
}

/* --- the copier --- */

bool pace_may_read(Pace *p, int64_t now, int64_t bytes, int64_t *wake)
{
    step(p, now);
    *wake = INT64_MAX;
    if (p->phase != PACE_RUNNING) {
        /* The requests that end the quiet are not seen until the next question. */
        *wake = now + MS;
        return false;
    }
    if (p->reading && p->reading + bytes > p->window) {
        return false;
    }
    if (now < p->next_read && !is_idle(p, now)) {
        /* Sooner if the guest goes: a long read's pause would outlast it by far. */
        *wake = MIN(p->next_read, now + p->rules->idle_ns);
        return false;
    }
    return true;
}

int64_t pace_read_size(const Pace *p, int64_t unit, int64_t usual)
{
    return CLAMP(p->window / unit * unit, unit, MAX(usual, unit));
}

void pace_read_begin(Pace *p, int64_t bytes)
{
    p->reading += bytes;
}

/* The pause makes the time of a read that is wider than the window as much longer. */
void pace_read_end(Pace *p, int64_t now, int64_t began, int64_t bytes)
{
    int64_t took = now - began, longest = (int64_t)((double)bytes * 1e9 / p->least_speed);
    double slower = (double)bytes / p->window;

    p->reading -= bytes;
    if (p->window < bytes) {
        p->next_read = began + MIN((int64_t)(took * slower), MAX(longest, took));
    }
}

int64_t pace_added_ns(const Pace *p, int64_t now)
{
    return is_idle(p, now) || !p->quiet_ns ? 0 : MAX(0, p->loaded_ns - p->quiet_ns);
}
