/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rate limit, on a clock of the test's own. */
#include <glib.h>

#include "util/rate-limit.h"

#define S 1000000000LL
#define MIB (1024 * 1024)

static void test_unlimited(void)
{
    RateLimit limit = {0};

    g_assert_cmpint(rate_limit_delay_at(&limit, UINT64_MAX, 5 * S), ==, 0);
    g_assert_cmpint(rate_limit_delay_ns(&limit, 1), ==, 0);
}

/* Whoever waits as told gets the speed, to within the slice that may be caught up. */
static void test_speed(void)
{
    RateLimit limit = {0};
    int64_t now = 100 * S, start = now;
    uint64_t bytes = 0;

    rate_limit_set_speed(&limit, 10 * MIB);
    while (now - start < 20 * S) {
        int64_t delay = rate_limit_delay_at(&limit, 64 * 1024, now);

        g_assert_cmpint(delay, >=, 0);
        bytes += 64 * 1024;
        now += delay + 1000000; /* and the work itself */
    }
    g_assert_cmpuint(bytes, >=, 199 * MIB);
    g_assert_cmpuint(bytes, <=, 202 * MIB);
}

static void test_catch_up(void)
{
    RateLimit limit = {0};
    uint64_t bytes = 0;

    rate_limit_set_speed(&limit, 10 * MIB);
    g_assert_cmpint(rate_limit_delay_at(&limit, 0, 100 * S), ==, 0);
    /* Idle for long: only a slice (1 MiB) may be done at once. */
    while (!rate_limit_delay_at(&limit, 4096, 200 * S)) {
        bytes += 4096;
    }
    g_assert_cmpuint(bytes, ==, MIB);
}

static void test_change(void)
{
    RateLimit limit = {0};

    rate_limit_set_speed(&limit, 1);
    g_assert_cmpint(rate_limit_delay_at(&limit, 1000, 100 * S), ==, 1000 * S);
    rate_limit_set_speed(&limit, 1000); /* the old debt is forgotten */
    g_assert_cmpint(rate_limit_delay_at(&limit, 1000, 101 * S), ==, S);
    rate_limit_set_speed(&limit, 0);
    g_assert_cmpint(rate_limit_delay_at(&limit, 1000, 101 * S), ==, 0);
}

static void test_extremes(void)
{
    RateLimit limit = {0};

    rate_limit_set_speed(&limit, 1);
    for (int i = 0; i < 10; i++) {
        g_assert_cmpint(rate_limit_delay_at(&limit, UINT64_MAX, 100 * S), >, 0);
    }
    rate_limit_set_speed(&limit, UINT64_MAX);
    g_assert_cmpint(rate_limit_delay_at(&limit, MIB, 100 * S), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rate-limit/unlimited", test_unlimited);
    g_test_add_func("/rate-limit/speed", test_speed);
    g_test_add_func("/rate-limit/catch-up", test_catch_up);
    g_test_add_func("/rate-limit/change", test_change);
    g_test_add_func("/rate-limit/extremes", test_extremes);
    return g_test_run();
}
