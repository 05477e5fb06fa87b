/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of the nbd driver share: nbd*.c only.
 *
 *   nbd.c          options, properties, tables
 *   nbd-request.c  reads, writes and the rest, as commands on the connection there is
 *   nbd-status.c   block status from meta contexts
 *   nbd-client.c   keeps a connection: makes the first one, and a new one where it is lost
 *   nbd-conn.c     one connection: a libnbd handle whose descriptor a loop watches
 *   nbd-dial.c     connects a socket
 *   nbd-tls.c      puts TLS between it and libnbd
 *
 * Names begin with nbdc_ (nbd_ is libnbd's).  All of it runs on the node's loop.
 */
#ifndef BLOCK_DRIVERS_NBD_H
#define BLOCK_DRIVERS_NBD_H

#include "block/driver.h"
#include "block/objects/user-object.h"
#include "io/co-lock.h"
#include "io/socket.h"

#include <libnbd.h>

/* --- TLS (nbd-tls.c), on loop 0 whatever the node's is ------------------------------------- */

typedef struct NbdcTls {
    UserObject *creds; /* held; NULL: there is no TLS */
    char *hostname;    /* that the server's certificate must be for, or NULL */
    const char *doubt; /* why the server may end the last connection at once, or NULL */
    unsigned relays;   /* connections that are not yet closed */
    CoQueue ended;     /* one of them has been */
} NbdcTls;

/* What the options ask for.  False with @errp set, and nothing to be cleared, on failure. */
bool nbdc_tls_init(NbdcTls *tls, const BlockdevOptionsNbd *options, GError **errp);

/*
 * Begins TLS on a new connection, which it takes over, and returns a socket where the server is
 * spoken to in clear, from its greeting on; NULL with @errp set on failure.  Loop 0.
 */
Socket *co_nbdc_tls_start(NbdcTls *tls, Socket *socket, GError **errp);

/* Waits until all connections, whose sockets have been closed, are gone.  Any loop. */
void co_nbdc_tls_clear(NbdcTls *tls);

/* --- a socket (nbd-dial.c) ---------------------------------------------------------------- */

/* @fd: connected, owned by who is called; -1 with an @error that is his, too. */
typedef void NbdcDialFn(void *opaque, int fd, GError *error);

/* One attempt at a time; zero-initialised. */
typedef struct NbdcDial {
    SocketConnect connect;
    const SocketAddress *address;
    NbdcTls *tls;
    int secured_fd; /* a second descriptor of the socket while TLS begins, else -1 */
    NbdcDialFn *fn;
    void *opaque;
    bool running;
    CoQueue ended; /* who waits for that */
} NbdcDial;

/*
 * Connects to @address, which stays until then, and calls fn(opaque), perhaps at once, unless it is
 * given up before.  Nothing may be running.
 */
void nbdc_dial_start(NbdcDial *dial, const SocketAddress *address, NbdcTls *tls, NbdcDialFn *fn,
                     void *opaque);

/* Gives up: @fn is not called any more.  It may run on for a while, for a name look-up. */
void nbdc_dial_cancel(NbdcDial *dial);
void co_nbdc_dial_end(NbdcDial *dial); /* cancels, and waits until it runs no more */

/* Can the address be translated? With the error for those that cannot. */
bool nbdc_dial_check(const SocketAddress *address, GError **errp);

/* --- one connection (nbd-conn.c) ----------------------------------------------------------- */

/* What the server said of the export. */
typedef struct NbdcInfo {
    int64_t size;
    bool read_only;
    bool can_flush, can_fua, can_trim, can_zero, can_fast_zero;
    bool can_status;                         /* the meta context that was asked for is there */
    int64_t min_block, opt_block, max_block; /* 0: not said */
    int64_t max_range; /* bytes that one request without data can be about */
} NbdcInfo;

typedef struct NbdcConn {
    struct nbd_handle *h;
    bool cut;         /* the server has closed it in the handshake */
    LoopWatch *watch; /* NULL while detached and when dead */
    unsigned refcount;
    bool ready;    /* the handshake is over; stays true */
    bool dead;     /* no command can be given any more; those that were under way have failed */
    GError *error; /* why the handshake failed */
    NbdcInfo info; /* once ready */
    /* It became ready, or dead; may be called by any nbdc_conn_ function but close. */
    void (*changed)(void *opaque);
    void *opaque;
} NbdcConn;

/*
 * Begins the handshake on @fd, which it owns from now on, also on failure.  @context: the meta
 * context for block status.
 */
NbdcConn *nbdc_conn_new(int fd, const char *export, const char *context,
                        void (*changed)(void *opaque), void *opaque, GError **errp);
NbdcConn *nbdc_conn_ref(NbdcConn *conn);
void nbdc_conn_unref(NbdcConn *conn);

/* To be called after each libnbd call that may have moved its state machine. */
void nbdc_conn_update(NbdcConn *conn);

/* Leaves the loop, with nothing under way, and joins the current one. */
void nbdc_conn_detach(NbdcConn *conn);
void nbdc_conn_attach(NbdcConn *conn);

/* Says good-bye where that needs no waiting, and drops the caller's reference. */
void nbdc_conn_close(NbdcConn *conn);

/* --- a connection at any time (nbd-client.c) ------------------------------------------------ */

typedef enum NbdcState {
    NBDC_OFF,         /* not begun, detached, or given up */
    NBDC_DIALLING,    /* dial is running; the timer ends it */
    NBDC_NEGOTIATING, /* conn is set and not ready; the timer goes on */
    NBDC_CONNECTED,   /* conn is set and ready */
    NBDC_PAUSED,      /* the timer starts the next attempt */
} NbdcState;

typedef struct NbdcClient {
    SocketAddress *address;
    NbdcTls tls;
    char *export, *context;
    int64_t reconnect_delay_ns;
    bool needs_write; /* a connection to a read-only export is of no use */

    NbdcState state;
    NbdcDial dial;
    NbdcConn *conn;
    LoopTimer timer;
    GError *error; /* of the last attempt that failed */
    bool opened;   /* there was a connection, info is what it had */
    NbdcInfo info;
    int64_t connected_at;  /* loop_now_ns() */
    int64_t pause_ns;      /* how long the next pause lasts */
    int64_t wait_until;    /* for how long requests wait for the lost connection */
    CoQueue changed;       /* state */
    CoSemaphore slots;     /* bounds the commands under way */
    int64_t status_window; /* block status: how much to ask for next */
} NbdcClient;

/* Takes copies; what it is not given is to be set up after it: tls. */
void nbdc_client_init(NbdcClient *c, const SocketAddress *address, const char *export,
                      const char *context, int64_t reconnect_delay_ns);

/* The first connection; further attempts until @deadline_ns on loop_now_ns()'s clock. */
bool co_nbdc_client_open(NbdcClient *c, int64_t deadline_ns, GError **errp);

/* Closes and frees what @c holds; no command may be under way. */
void co_nbdc_client_clear(NbdcClient *c);

void co_nbdc_client_detach(NbdcClient *c);
void nbdc_client_attach(NbdcClient *c);

/*
 * A reference to the connection, ready when this was called; waits for it while reconnect-delay
 * lasts (unless !@may_wait).  NULL: there is none.
 */
NbdcConn *co_nbdc_client_get(NbdcClient *c, bool may_wait);

/* --- commands (nbd-request.c) --------------------------------------------------------------- */

typedef struct NbdcCommand NbdcCommand;
struct NbdcCommand {
    /* Gives the command to libnbd: a cookie, or -1. */
    int64_t (*issue)(struct nbd_handle *h, NbdcCommand *cmd, nbd_completion_callback done);
    void *buf;
    uint64_t offset, bytes;
    uint32_t flags;                      /* LIBNBD_CMD_FLAG_… */
    const char *context;                 /* block status: which answer counts */
    uint64_t extent_bytes, extent_flags; /* block status: the first extent; 0 bytes: none came */
    CoSleep sleep;                       /* of who waits for it; private like those below */
    bool done;
    int error;
};

/* Runs it; where the connection is lost again on a new one, as long as reconnect-delay allows. */
G_GNUC_WARN_UNUSED_RESULT int co_nbdc_command(BlockNode *node, NbdcCommand *cmd);

int nbdc_co_read(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags);
int nbdc_co_write(BlockNode *node, int64_t offset, const IoSlice *data, unsigned flags);
int nbdc_co_write_zeroes(BlockNode *node, int64_t offset, int64_t bytes, unsigned flags);
int nbdc_co_discard(BlockNode *node, int64_t offset, int64_t bytes);
int nbdc_co_flush(BlockNode *node);

/* Block status (nbd-status.c). */
int nbdc_co_block_status(BlockNode *node, bool want_zero, int64_t offset, int64_t bytes,
                         BlockStatus *status);

#endif
