/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One connection of the nbd driver: a libnbd handle whose descriptor the loop watches; see nbd.h.
 */
#include "block/drivers/nbd.h"
#include "util/error.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* Replies that are taken in one go where more than one has come. */
#define MAX_ROUNDS 32

static int64_t block_size(struct nbd_handle *h, int type)
{
    return MAX(nbd_get_block_size(h, type), 0);
}

/* Extended headers, which libnbd asks for by itself, have 64-bit lengths. */
static int64_t max_range(struct nbd_handle *h)
{
#ifdef HAVE_LIBNBD_EXTENDED
    if (nbd_get_extended_headers_negotiated(h) == 1) {
        return INT64_MAX;
    }
#endif
    return UINT32_MAX;
}

static void read_info(struct nbd_handle *h, const char *context, NbdcInfo *info)
{
    *info = (NbdcInfo){
        .size = nbd_get_size(h),
        .read_only = nbd_is_read_only(h) != 0,
        .can_flush = nbd_can_flush(h) == 1,
        .can_fua = nbd_can_fua(h) == 1,
        .can_trim = nbd_can_trim(h) == 1,
        .can_zero = nbd_can_zero(h) == 1,
        .can_fast_zero = nbd_can_fast_zero(h) == 1,
        .can_status = nbd_can_meta_context(h, context) == 1,
        .min_block = block_size(h, LIBNBD_SIZE_MINIMUM),
        .opt_block = block_size(h, LIBNBD_SIZE_PREFERRED),
        .max_block = block_size(h, LIBNBD_SIZE_MAXIMUM),
        .max_range = max_range(h),
    };
}

/* libnbd has no errno for an end of the stream. */
static bool is_cut(int error)
{
    return error == 0 || error == ECONNRESET || error == EPIPE || error == ENOTCONN;
}

/* Only what ends the handshake is told: later errors are those of the commands. */
static void keep_error(NbdcConn *conn)
{
    if (conn->ready || conn->error) {
        return;
    }
    conn->cut = is_cut(nbd_get_errno());
    if (nbd_get_errno() == ENOENT) {
        tm_error_set(&conn->error, "Requested export not available");
    } else {
        tm_error_set(&conn->error, "Failed to negotiate with the NBD server: %s",
                     nbd_get_error() ? nbd_get_error() : "connection closed");
    }
}

static void die(NbdcConn *conn)
{
    conn->dead = true;
    g_clear_pointer(&conn->watch, loop_watch_free);
    if (!conn->ready && !conn->error) {
        conn->cut = true;
        tm_error_set(&conn->error, "The NBD server closed the connection in the handshake");
    }
    conn->changed(conn->opaque);
}

static void become_ready(NbdcConn *conn)
{
    g_autofree char *context = nbd_get_meta_context(conn->h, 0);

    read_info(conn->h, context ? context : "", &conn->info);
    conn->ready = true;
    conn->changed(conn->opaque);
}

static int wanted_events(struct nbd_handle *h)
{
    unsigned direction = nbd_aio_get_direction(h);

    return (direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
           (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0);
}

void nbdc_conn_update(NbdcConn *conn)
{
    if (conn->dead) {
        return;
    }
    nbdc_conn_ref(conn); /* changed() may drop it */
    if (nbd_aio_is_dead(conn->h) == 1 || nbd_aio_is_closed(conn->h) == 1) {
        die(conn);
    } else if (!conn->ready && nbd_aio_is_ready(conn->h) == 1) {
        become_ready(conn);
    }
    if (conn->watch) {
        loop_watch_set(conn->watch, wanted_events(conn->h));
    }
    nbdc_conn_unref(conn);
}

static bool may_read(const NbdcConn *conn)
{
    struct pollfd pfd = {.fd = nbd_aio_get_fd(conn->h), .events = POLLIN};

    return (nbd_aio_get_direction(conn->h) & LIBNBD_AIO_DIRECTION_READ) && poll(&pfd, 1, 0) > 0;
}

/* libnbd takes one reply a time; others may have come with it. */
static int take_replies(NbdcConn *conn)
{
    int ret = nbd_aio_notify_read(conn->h);

    for (int i = 1; ret == 0 && conn->ready && i < MAX_ROUNDS && may_read(conn); i++) {
        ret = nbd_aio_notify_read(conn->h);
    }
    return ret;
}

static void on_events(void *opaque, int revents)
{
    NbdcConn *conn = opaque;
    unsigned direction = nbd_aio_get_direction(conn->h);
    bool reads = direction & LIBNBD_AIO_DIRECTION_READ;
    int ret;

    /* Who can only write finds a hang-up by writing. */
    if (reads && (revents & ~POLLOUT)) {
        ret = take_replies(conn);
    } else {
        ret = nbd_aio_notify_write(conn->h);
    }
    if (ret < 0) {
        keep_error(conn);
    }
    nbdc_conn_update(conn);
}

static bool set_up(struct nbd_handle *h, const char *export, const char *context)
{
    return nbd_set_export_name(h, export) == 0 && nbd_add_meta_context(h, context) == 0;
}

NbdcConn *nbdc_conn_new(int fd, const char *export, const char *context,
                        void (*changed)(void *opaque), void *opaque, GError **errp)
{
    NbdcConn *conn;
    struct nbd_handle *h = nbd_create();

    if (!h || !set_up(h, export, context)) {
        tm_error_set(errp, "Could not set up the NBD connection: %s", nbd_get_error());
        nbd_close(h);
        close(fd);
        return NULL;
    }
    conn = g_new(NbdcConn, 1);
    *conn = (NbdcConn){.h = h, .refcount = 1, .changed = changed, .opaque = opaque};
    if (nbd_aio_connect_socket(h, fd) < 0) {
        keep_error(conn);
        g_propagate_error(errp, g_steal_pointer(&conn->error));
        nbdc_conn_unref(conn); /* and with it the descriptor */
        return NULL;
    }
    nbdc_conn_attach(conn);
    return conn;
}

NbdcConn *nbdc_conn_ref(NbdcConn *conn)
{
    conn->refcount++;
    return conn;
}

void nbdc_conn_unref(NbdcConn *conn)
{
    if (--conn->refcount == 0) {
        g_assert(!conn->watch);
        nbd_close(conn->h);
        g_clear_error(&conn->error);
        g_free(conn);
    }
}

void nbdc_conn_detach(NbdcConn *conn)
{
    g_clear_pointer(&conn->watch, loop_watch_free);
}

void nbdc_conn_attach(NbdcConn *conn)
{
    conn->watch = loop_watch_new(nbd_aio_get_fd(conn->h), on_events, conn);
    loop_watch_set(conn->watch, wanted_events(conn->h));
}

void nbdc_conn_close(NbdcConn *conn)
{
    nbdc_conn_detach(conn);
    if (conn->ready && !conn->dead) {
        nbd_aio_disconnect(conn->h, 0); /* a failure is no matter: the socket is closed anyway */
    }
    conn->dead = true;
    nbdc_conn_unref(conn);
}
