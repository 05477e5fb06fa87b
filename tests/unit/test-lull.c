/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The reader's lulls, with clients that are simulated: each has so many requests under way and
 * takes so long for each. */
#include <glib.h>

#include "nbd-export/lull.h"

#define US 1000

typedef struct Client {
    unsigned depth;
    int64_t ns_each; /* to read a reply and send the next request */
    int64_t credit;  /* time that it has had and not used */
    unsigned unread; /* replies */
    unsigned sent;   /* requests that the server has not taken yet */
} Client;

static void client_runs(Client *client, int64_t ns)
{
    client->credit += ns;
    while (client->unread && client->credit >= client->ns_each) {
        client->credit -= client->ns_each;
        client->unread--;
        client->sent++;
    }
    if (!client->unread) {
        client->credit = 0;
    }
}

typedef struct Outcome {
    unsigned lulls, dry; /* dry: lulls at whose end the client waited */
    int64_t longest;
} Outcome;

/* The server receives, carries out at once, replies; the client runs beside it. */
static Outcome run(NbdLull *lull, Client *client, unsigned receives)
{
    Outcome outcome = {0};
    bool lulled = false;

    client->sent = client->depth;
    client->unread = 0;
    for (unsigned i = 0; i < receives; i++) {
        int64_t ns;

        while (!client->sent) {
            client_runs(client, US);
        }
        lull->batch += client->sent;
        outcome.dry += lulled && !client->unread;
        ns = nbd_lull_next(lull, client->unread > 0);
        client->unread += client->sent;
        client->sent = 0;
        client_runs(client, 2 * US + ns);
        lulled = ns > 0;
        outcome.lulls += lulled;
        outcome.longest = MAX(outcome.longest, ns);
    }
    return outcome;
}

static void test_never_for_one_request(void)
{
    NbdLull lull = {0};
    Client client = {.depth = 1, .ns_each = 8 * US};

    g_assert_cmpuint(run(&lull, &client, 10000).lulls, ==, 0);
}

static void test_few_requests(void)
{
    for (unsigned depth = 2; depth < 6; depth++) {
        NbdLull lull = {0};
        Client client = {.depth = depth, .ns_each = 4 * US};

        g_assert_cmpuint(run(&lull, &client, 10000).dry, <=, 10000 / 1000 + 1);
    }
}

static void test_many_requests(void)
{
    NbdLull lull = {0};
    Client client = {.depth = 64, .ns_each = 8 * US};
    Outcome outcome = run(&lull, &client, 1000);

    g_assert_cmpuint(outcome.lulls, >, 900);
    g_assert_cmpuint(outcome.dry, ==, 0);
    g_assert_cmpint(outcome.longest, ==, 40 * US);
}

/* A client whose requests do not last for the longest lull: it is halved, and there are some again.
 */
static void test_finds_its_length(void)
{
    NbdLull lull = {0};
    Client client = {.depth = 10, .ns_each = 3 * US};
    Outcome outcome = run(&lull, &client, 1000);

    g_assert_cmpint(outcome.longest, <, 40 * US);
    g_assert_cmpuint(outcome.lulls, >, 500);
    g_assert_cmpuint(outcome.dry, <, outcome.lulls / 5);
}

static void test_client_changes(void)
{
    NbdLull lull = {0};
    Client deep = {.depth = 64, .ns_each = 8 * US}, shallow = {.depth = 2, .ns_each = 4 * US};

    run(&lull, &deep, 1000);
    g_assert_cmpuint(run(&lull, &shallow, 3000).lulls, <, 20);
    run(&lull, &deep, 1000); /* out of the bar */
    g_assert_cmpuint(run(&lull, &deep, 1000).lulls, >, 900);
}

/* The disk works, or the client has read everything: no lull. */
static void test_only_where_client_is_behind(void)
{
    NbdLull lull = {0};

    for (int i = 0; i < 100; i++) {
        lull.batch = 64;
        g_assert_cmpint(nbd_lull_next(&lull, false), ==, 0);
    }
    lull.batch = 64;
    g_assert_cmpint(nbd_lull_next(&lull, true), >=, 10 * US);
}

/* While others are busy nothing is learned: the client is not taken for one that waits. */
static void test_skip(void)
{
    NbdLull lull = {0};

    g_assert_cmpint(nbd_lull_next(&lull, true), >, 0);
    lull.batch = 1;
    nbd_lull_skip(&lull);
    lull.batch = 1;
    g_assert_cmpint(nbd_lull_next(&lull, false), ==, 0);
    g_assert_cmpint(nbd_lull_next(&lull, true), >, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lull/never-for-one-request", test_never_for_one_request);
    g_test_add_func("/lull/few-requests", test_few_requests);
    g_test_add_func("/lull/many-requests", test_many_requests);
    g_test_add_func("/lull/finds-its-length", test_finds_its_length);
    g_test_add_func("/lull/client-changes", test_client_changes);
    g_test_add_func("/lull/only-where-client-is-behind", test_only_where_client_is_behind);
    g_test_add_func("/lull/skip", test_skip);
    return g_test_run();
}
