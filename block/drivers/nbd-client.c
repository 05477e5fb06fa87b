/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keeps a connection to an NBD server: makes the first one, and when it is lost tries again, at
 * once and then with pauses of up to a second, until there is a new one; see nbd.h.
 *
 * Nothing here is a coroutine of its own: what happens next follows from a dial, a handshake or a
 * timer that ends, so that leaving a loop at any moment means to drop just that.
 */
#include "block/drivers/nbd.h"
#include "util/error.h"

#define SECOND_NS INT64_C(1000000000)
/* The pause before a further attempt doubles from the first to the last. */
#define FIRST_PAUSE_NS (SECOND_NS / 20)
#define LAST_PAUSE_NS SECOND_NS
/* A server that does not answer must not hold the control lock for ever (from co_open). */
#define ATTEMPT_SECONDS 30
#define MAX_COMMANDS 64

static void start_attempt(NbdcClient *c);

static void set_state(NbdcClient *c, NbdcState state)
{
    c->state = state;
    co_queue_wake_all(&c->changed);
}

static void pause_attempts(NbdcClient *c)
{
    loop_timer_set(&c->timer, loop_now_ns() + c->pause_ns);
    c->pause_ns = MIN(c->pause_ns * 2, LAST_PAUSE_NS);
    set_state(c, NBDC_PAUSED);
}

/* Takes @error. */
static void attempt_failed(NbdcClient *c, GError *error)
{
    g_clear_error(&c->error);
    c->error = error;
    pause_attempts(c);
}

/* Can the new connection do all that the node's users were told when it was opened? */
static bool still_fits(const NbdcClient *c, const NbdcInfo *now, GError **errp)
{
    const NbdcInfo *old = &c->info;

    if (now->size != old->size) {
        return tm_error_set(errp, "The export's size is now %" PRId64 ", it was %" PRId64,
                            now->size, old->size);
    }
    if (now->read_only && c->needs_write) {
        return tm_error_set(errp, "The export is now read-only");
    }
    if (now->min_block > MAX(old->min_block, 1) ||
        (now->max_block && (!old->max_block || now->max_block < old->max_block))) {
        return tm_error_set(errp, "The export's block size limits are now narrower");
    }
    if (now->max_range < old->max_range || now->can_flush < old->can_flush ||
        now->can_fua < old->can_fua || now->can_trim < old->can_trim ||
        now->can_zero < old->can_zero || now->can_fast_zero < old->can_fast_zero ||
        now->can_status < old->can_status) {
        return tm_error_set(errp, "The server can do less than it could before");
    }
    return true;
}

static void drop_conn(NbdcClient *c)
{
    nbdc_conn_close(g_steal_pointer(&c->conn));
}

static void handshake_done(NbdcClient *c)
{
    GError *error = NULL;

    loop_timer_cancel(&c->timer);
    if (c->opened && !still_fits(c, &c->conn->info, &error)) {
        drop_conn(c);
        attempt_failed(c, error);
        return;
    }
    if (!c->opened) {
        c->info = c->conn->info;
        c->opened = true;
    }
    c->connected_at = loop_now_ns();
    set_state(c, NBDC_CONNECTED);
}

static void handshake_failed(NbdcClient *c)
{
    GError *error = g_steal_pointer(&c->conn->error), *more = NULL;

    if (c->conn->cut && c->tls.doubt) {
        tm_error_set(&more, "%s (%s)", error->message, c->tls.doubt);
        g_clear_error(&error);
        error = more;
    }
    loop_timer_cancel(&c->timer);
    drop_conn(c);
    attempt_failed(c, error);
}

/* A descriptor that we were given cannot be connected again. */
static bool can_reconnect(const NbdcClient *c)
{
    return c->address->type != SOCKET_ADDRESS_TYPE_FD;
}

static void connection_lost(NbdcClient *c)
{
    int64_t now = loop_now_ns();

    drop_conn(c);
    if (!can_reconnect(c)) {
        c->wait_until = now;
        set_state(c, NBDC_OFF);
        return;
    }
    c->wait_until = now + c->reconnect_delay_ns;
    /* A server that takes connections only to drop them is not to keep us busy. */
    if (now - c->connected_at < LAST_PAUSE_NS) {
        pause_attempts(c);
    } else {
        c->pause_ns = FIRST_PAUSE_NS;
        start_attempt(c);
    }
}

static void conn_changed(void *opaque)
{
    NbdcClient *c = opaque;

    if (!c->conn) {
        return; /* while it is being made: its maker looks */
    }
    if (c->conn->dead) {
        if (c->state == NBDC_CONNECTED) {
            connection_lost(c);
        } else {
            handshake_failed(c);
        }
    } else if (c->state == NBDC_NEGOTIATING) {
        handshake_done(c);
    }
}

static void dialled(void *opaque, int fd, GError *error)
{
    NbdcClient *c = opaque;

    if (fd >= 0) {
        c->conn = nbdc_conn_new(fd, c->export, c->context, conn_changed, c, &error);
    }
    if (!c->conn) {
        attempt_failed(c, error);
        return;
    }
    set_state(c, NBDC_NEGOTIATING);
    nbdc_conn_update(c->conn);
}

static void start_attempt(NbdcClient *c)
{
    if (c->dial.running) { /* the last attempt still looks up a name */
        pause_attempts(c);
        return;
    }
    loop_timer_set(&c->timer, loop_now_ns() + ATTEMPT_SECONDS * SECOND_NS);
    set_state(c, NBDC_DIALLING);
    nbdc_dial_start(&c->dial, c->address, &c->tls, dialled, c);
}

static void attempt_timed_out(NbdcClient *c)
{
    GError *error = NULL;

    nbdc_dial_cancel(&c->dial);
    if (c->conn) {
        drop_conn(c);
    }
    tm_error_set(&error, "The NBD server did not answer in %d seconds", ATTEMPT_SECONDS);
    attempt_failed(c, error);
}

static void timer_fired(void *opaque)
{
    NbdcClient *c = opaque;

    if (c->state == NBDC_PAUSED) {
        start_attempt(c);
    } else {
        attempt_timed_out(c);
    }
}

void nbdc_client_init(NbdcClient *c, const SocketAddress *address, const char *export,
                      const char *context, int64_t reconnect_delay_ns)
{
    *c = (NbdcClient){
        .address = SocketAddress_copy(address),
        .export = g_strdup(export),
        .context = g_strdup(context),
        .reconnect_delay_ns = reconnect_delay_ns,
        .pause_ns = FIRST_PAUSE_NS,
    };
    loop_timer_init(&c->timer, timer_fired, c);
    co_semaphore_init(&c->slots, MAX_COMMANDS);
}

bool co_nbdc_client_open(NbdcClient *c, int64_t deadline_ns, GError **errp)
{
    start_attempt(c);
    while (c->state != NBDC_CONNECTED) {
        bool tried = c->error != NULL;
        int64_t until = tried || deadline_ns > loop_now_ns() ? deadline_ns : INT64_MAX;

        if (tried && (loop_now_ns() >= deadline_ns || !can_reconnect(c))) {
            g_propagate_error(errp, g_steal_pointer(&c->error));
            return false;
        }
        if (!co_queue_wait_until(&c->changed, until) && !c->error) {
            return tm_error_set(errp,
                                "Could not connect to the NBD server within the open-timeout");
        }
    }
    g_clear_error(&c->error);
    return true;
}

void co_nbdc_client_detach(NbdcClient *c)
{
    loop_timer_cancel(&c->timer);
    if (c->state == NBDC_CONNECTED) {
        nbdc_conn_detach(c->conn);
        return;
    }
    c->state = NBDC_OFF;
    if (c->conn) {
        drop_conn(c);
    }
    co_nbdc_dial_end(&c->dial);
}

void nbdc_client_attach(NbdcClient *c)
{
    if (c->state == NBDC_CONNECTED) {
        nbdc_conn_attach(c->conn);
    } else if (can_reconnect(c)) {
        start_attempt(c);
    }
}

void co_nbdc_client_clear(NbdcClient *c)
{
    co_nbdc_client_detach(c);
    if (c->conn) {
        drop_conn(c);
    }
    co_nbdc_tls_clear(&c->tls);
    g_clear_error(&c->error);
    g_clear_pointer(&c->address, SocketAddress_free);
    g_clear_pointer(&c->export, g_free);
    g_clear_pointer(&c->context, g_free);
}

NbdcConn *co_nbdc_client_get(NbdcClient *c, bool may_wait)
{
    while (c->state != NBDC_CONNECTED) {
        if (!may_wait || !co_queue_wait_until(&c->changed, c->wait_until)) {
            return c->state == NBDC_CONNECTED ? nbdc_conn_ref(c->conn) : NULL;
        }
    }
    return nbdc_conn_ref(c->conn);
}
