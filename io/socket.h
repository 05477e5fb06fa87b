/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stream sockets: a few operations behind a table, so that TLS is a socket that wraps another.
 *
 * A Socket belongs to one loop at a time: the loop on which its co_ functions are called.  At
 * most one coroutine receives and one sends at a time.
 */
#ifndef IO_SOCKET_H
#define IO_SOCKET_H

#include "io/co.h"
#include "util/io-slice.h"

typedef struct Socket Socket;

typedef struct SocketOps {
    ssize_t (*co_recv)(Socket *socket, void *buf, size_t len);
    int (*co_send)(Socket *socket, const IoSlice *data);
    void (*interrupt)(Socket *socket);
    /* These two only where sessions on the socket move between loops. */
    ssize_t (*co_send_some)(Socket *socket, const IoSlice *data);
    void (*interrupt_send)(Socket *socket);
    /* Only of descriptors, and only of what is built on them. */
    int (*co_wait_room)(Socket *socket);
    int (*co_finish)(Socket *socket);
    void (*shutdown)(Socket *socket);
    int (*fd)(const Socket *socket);
    void (*free)(Socket *socket);
} SocketOps;

struct Socket {
    const SocketOps *ops;
    char *peer; /* for messages: "unix:/path" or "127.0.0.1:4711" */
};

/* Takes ownership of the connected descriptor @fd. */
Socket *socket_new_fd(int fd, const char *peer);

/*
 * Receives 1 to @len bytes; 0 at the end of the stream; -EINTR after socket_interrupt()
 * (nothing lost).
 */
G_GNUC_WARN_UNUSED_RESULT ssize_t co_socket_recv(Socket *socket, void *buf, size_t len);

/*
 * Receives exactly @len bytes; -ECONNRESET where the stream ends before.  -EINTR only before the
 * first byte: an interrupt later waits for the next call, so that nothing is lost (who must be
 * interruptible in mid-message counts for itself with co_socket_recv()).
 */
G_GNUC_WARN_UNUSED_RESULT int co_socket_recv_all(Socket *socket, void *buf, size_t len);

/* Sends all of it: 0 or -errno. */
G_GNUC_WARN_UNUSED_RESULT int co_socket_send(Socket *socket, const IoSlice *data);
G_GNUC_WARN_UNUSED_RESULT int co_socket_send_buf(Socket *socket, const void *buf, size_t len);

/*
 * Sends 1 to data->len bytes and returns how many, or -errno; -EINTR after socket_interrupt_send()
 * (nothing lost).
 */
G_GNUC_WARN_UNUSED_RESULT ssize_t co_socket_send_some(Socket *socket, const IoSlice *data);

/* Makes the co_socket_send_some() that waits now, or else the next one, return -EINTR. */
void socket_interrupt_send(Socket *socket);

/*
 * Waits until there is room for more to send, or the connection has ended: 0, or -EINTR after
 * socket_interrupt_send().  For sockets of descriptors.
 */
G_GNUC_WARN_UNUSED_RESULT int co_socket_wait_room(Socket *socket);

/*
 * After the last thing was sent: says good-bye, where the protocol has one, and waits until what
 * was sent no longer depends on us; socket_free() alone does not wait.  Shuts the connection down
 * where that has not ended at @deadline_ns (loop_now_ns()'s clock).  On the loop of the socket.
 */
void co_socket_finish(Socket *socket, int64_t deadline_ns);

/*
 * Makes the receive that waits now (or else the next one) return -EINTR; so that a session that
 * waits for its client can be moved to another loop.  Loop thread only.
 */
void socket_interrupt(Socket *socket);

/* Shuts both directions down: receivers see the end, senders -EPIPE.  Loop thread only. */
void socket_shutdown(Socket *socket);

int socket_fd(const Socket *socket);

/* Is it a unix socket? */
bool socket_is_unix(const Socket *socket);
/* Is there anything that was sent on a unix socket and that the peer has not received yet? */
bool socket_has_unread(const Socket *socket);

/* Closes.  Nobody may be in a call on it.  NULL is accepted. */
void socket_free(Socket *socket);

/*
 * An address, as QMP's SocketAddress gives it (the caller translates).  The fd of kind FD is taken
 * over if the call it is given to succeeds, and is close-on-exec from then on.  All TCP connections
 * get TCP_NODELAY.
 */
typedef struct SocketAddr {
    enum { SOCKET_ADDR_UNIX, SOCKET_ADDR_TCP, SOCKET_ADDR_VSOCK, SOCKET_ADDR_FD } kind;
    const char *path;       /* UNIX */
    bool abstract, tight;   /* UNIX: Linux abstract name space */
    const char *host, *port; /* TCP */
    bool ipv4, ipv6;        /* TCP: families wanted; both false means any */
    bool numeric;           /* TCP: host and port are digits */
    bool mptcp;
    uint16_t last_port;     /* TCP, listening: the first free port up to this one; 0: just .port */
    bool keep_alive;
    uint32_t cid, vsock_port;
    int fd;                 /* FD: a connected or listening socket passed in */
} SocketAddr;

/* Connects (name look-up in the worker pool).  NULL with @errp set on failure; QEMU's words:
 * "Failed to connect to '/path': No such file or directory". */
Socket *co_socket_connect(const SocketAddr *addr, GError **errp);

/*
 * The same, so that it can be given up: zero-initialised, for one call, and in place until it has
 * returned.  What was given up fails with ECANCELED's words (a name look-up ends first).
 */
typedef struct SocketConnect {
    void *op; /* private */
    bool cancelled;
} SocketConnect;
Socket *co_socket_connect_or_cancel(SocketConnect *connect, const SocketAddr *addr, GError **errp);
void socket_connect_cancel(SocketConnect *connect); /* loop thread only */

/* A listening socket (one address family each may mean several descriptors). */
typedef struct Listener Listener;
/* Called on the listener's loop, in a coroutine of its own, for each new connection. */
typedef void ListenerFn(Socket *connection, void *opaque);

/*
 * Binds, listens and accepts on the current loop.  An existing unix socket is replaced, as QEMU
 * does (other files are not touched); the socket is removed by co_listener_free().  "Failed to bind
 * socket to /path: …".  May yield (name look-up).  @fn owns the connection.
 */
Listener *co_listener_new(const SocketAddr *addr, int backlog, ListenerFn *fn, void *opaque,
                          GError **errp);
/* The bound address of the first descriptor, "unix:/path" or "host:port" (port 0 resolved). */
const char *listener_address(const Listener *listener);
/* Stops and starts taking connections (at the limit of clients, say).  Loop thread only. */
void listener_set_paused(Listener *listener, bool paused);
/*
 * Closes; may yield until the accept under way was cancelled.  @fn is not called after it was
 * called; @fn itself may call it.  Listener's loop only.  NULL is accepted.
 */
void co_listener_free(Listener *listener);

#endif
