/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How fast the copier may read beside a guest: enough to keep the disk busy when nobody else uses
 * it, and so little otherwise that the guest's requests take about as long as without it.
 *
 * It goes by what the guest feels.  Now and then the copier holds still for a moment, and the
 * guest's requests in that moment tell how long they take on this disk (*quiet*); those in the time
 * after it tell what the copier adds.  By the ratio of the two the *window* is widened or narrowed:
 * the bytes that may be being read at a time.  A window of less than one read means pauses between
 * reads.  Below the least speed it never goes (there is no starvation), and a guest that does
 * nothing is no reason to hold back.
 *
 * Several copies of one disk, or of disks that share a processor or a controller, each have a pace.
 * They hold still together, by the clock, and so each of them sees what all add and narrows its
 * window: the guest's latency is their common limit, as a lossy link is that of TCP's flows.
 *
 * Pure arithmetic: the time is told by the caller (loop_now_ns()'s clock), and nothing yields.
 */
#ifndef BLOCK_COPY_PACE_H
#define BLOCK_COPY_PACE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum PacePhase {
    PACE_RUNNING,  /* the copier reads as the window allows */
    PACE_STOPPING, /* it holds still, and what copiers have in flight ends */
    PACE_QUIET,    /* … has ended: guests are alone */
} PacePhase;

/*
 * What the guest's requests may take, in per cent of what they take in the quiet: above the one the
 * window gets narrower, below the other wider.  (With some slack where the guest has none in flight
 * for most of the time: it would not get more done if they were faster.)
 *
 * How long it takes for the guest to count as idle, how long the two parts of a hold are (the
 * second one at most: for the first request, and in all), and the time from one to the next.
 */
typedef struct PaceRules {
    int too_slow, fast_enough;
    int64_t idle_ns;
    int64_t stopping_ns; /* what is in flight is waited for; a target slower than that is not */
    int64_t quiet_ns, quiet_for_one_ns; /* a disk may take longer for each request than the first */
    int64_t period_ns;
} PaceRules;

extern const PaceRules pace_of_copier;
/* Somebody waits for each read: holds are short and seldom, and the two share the disk. */
extern const PaceRules pace_of_readers;

typedef struct Pace {
    const PaceRules *rules;
    int64_t max;          /* bytes: the widest window */
    int64_t least_speed;  /* bytes a second */
    int64_t window;       /* bytes */
    PacePhase phase;
    int64_t phase_start;
    int64_t quiet_at, quiet_took; /* of the last one; 0: there was none */
    int64_t step_start;   /* of the samples that the next step goes by */
    unsigned samples;
    int64_t sum_ns;
    int64_t quiet_ns;     /* of a guest's request without the copier; 0: not known */
    int64_t loaded_ns;    /* … and beside it, of late */
    int64_t last_guest;   /* when a request of the guest began or ended; INT64_MIN: never */
    unsigned guests;      /* requests in flight */
    int64_t busy_since, busy_ns; /* with one in flight: since then, and in this step before */
    int64_t reading;      /* bytes being read */
    int64_t next_read;    /* the pause between reads ends then */
} Pace;

/* @max: bytes of all reads at a time when there is no guest. */
void pace_init(Pace *p, const PaceRules *rules, int64_t max, int64_t least_speed, int64_t now);

/* Around each request of the guest; not @counts: it waited for something else than the disk. */
void pace_guest_begin(Pace *p, int64_t now);
void pace_guest_end(Pace *p, int64_t now, int64_t began, bool counts);

/*
 * May a read of @bytes (at the least) begin?  If not, *wake is when to ask again (INT64_MAX: when
 * one in flight ends, or after the next request of the guest).
 */
bool pace_may_read(Pace *p, int64_t now, int64_t bytes, int64_t *wake);

/* How long the next read should be: whole units (of so many bytes), one at the least, to @usual. */
int64_t pace_read_size(const Pace *p, int64_t unit, int64_t usual);

/* Around each read. */
void pace_read_begin(Pace *p, int64_t bytes);
void pace_read_end(Pace *p, int64_t now, int64_t began, int64_t bytes);

/* What the copier adds to a request of the guest, ns; 0 where there is no guest. */
int64_t pace_added_ns(const Pace *p, int64_t now);

#endif
