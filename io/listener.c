/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listeners: each descriptor has one accept under way on the ring, unless paused.  A connection
 * that comes in although the listener was just paused is held back until it goes on.
 */
#include <errno.h>
#include <unistd.h>

#include "io/co-private.h"
#include "io/listener-bind.h"
#include "io/loop-private.h"

#define RETRY_NS 1000000000 /* after an error that goes away by itself, like no free descriptors */

typedef struct Port {
    RingOp accept;
    Listener *listener;
    int fd;
    bool accepting;
    int held; /* a connection that waits for the end of the pause, or -1 */
} Port;

struct Listener {
    Loop *loop;
    ListenerBinding binding;
    Port *ports;
    unsigned n_ports;
    ListenerFn *fn;
    void *opaque;
    bool keep_alive, paused, closing;
    LoopTimer go_on;
    Co *closer; /* waits for the accepts to end */
};

typedef struct Delivery {
    ListenerFn *fn;
    void *opaque;
    Socket *connection;
} Delivery;

static void co_deliver(void *opaque)
{
    Delivery delivery = *(Delivery *)opaque; /* the caller's goes at the first yield */

    delivery.fn(delivery.connection, delivery.opaque);
}

/* The peer's own name; clients of unix sockets have none, so the listener's stands for it. */
static char *name_peer(const Listener *listener, const SockName *name)
{
    return name->sa.sa_family == AF_UNIX ? g_strdup(listener->binding.address)
                                         : sock_name_format(name);
}

/* The user may free the listener in there: nothing may be done with it afterwards. */
static void deliver(Listener *listener, int fd)
{
    SockName name = {.len = sizeof(name.storage)};
    g_autofree char *peer = NULL;
    Delivery delivery = {.fn = listener->fn, .opaque = listener->opaque};

    if (getpeername(fd, &name.sa, &name.len) < 0) {
        name.storage.ss_family = AF_UNSPEC; /* has gone already; its first receive will say so */
    }
    peer = name_peer(listener, &name);
    socket_tune(fd, &name, listener->keep_alive);
    delivery.connection = socket_new_fd(fd, peer);
    co_start(co_deliver, &delivery);
}

static void start_accept(Port *port)
{
    Ring *ring = &port->listener->loop->ring;
    struct io_uring_sqe *sqe;

    if (port->accepting || port->held >= 0 || port->listener->paused) {
        return;
    }
    sqe = ring_sqe(ring);
    io_uring_prep_accept(sqe, port->fd, NULL, NULL, SOCK_CLOEXEC);
    ring_queue(ring, sqe, &port->accept);
    port->accepting = true;
}

/* The first port with a connection that is held back, from @from on. */
static Port *find_held(Listener *listener, unsigned from)
{
    for (unsigned i = from; i < listener->n_ports; i++) {
        if (listener->ports[i].held >= 0) {
            return &listener->ports[i];
        }
    }
    return NULL;
}

/* Accepts on all ports, and delivers one connection that was held back (another turn: the next). */
static void go_on(void *opaque)
{
    Listener *listener = opaque;
    Port *held = listener->paused ? NULL : find_held(listener, 0);
    int fd = held ? held->held : -1;

    if (held) {
        held->held = -1;
        if (find_held(listener, 0)) {
            loop_timer_set(&listener->go_on, 0);
        }
    }
    for (unsigned i = 0; i < listener->n_ports; i++) {
        start_accept(&listener->ports[i]);
    }
    if (fd >= 0) {
        deliver(listener, fd);
    }
}

static bool any_accepting(const Listener *listener)
{
    for (unsigned i = 0; i < listener->n_ports; i++) {
        if (listener->ports[i].accepting) {
            return true;
        }
    }
    return false;
}

static bool passes_by_itself(int res)
{
    return res == -EMFILE || res == -ENFILE || res == -ENOBUFS || res == -ENOMEM;
}

static void accepted(Listener *listener, Port *port, int fd)
{
    if (listener->paused) {
        port->held = fd;
        return;
    }
    start_accept(port);
    deliver(listener, fd);
}

static void closing_done(Listener *listener, int res)
{
    if (res >= 0) {
        close(res);
    }
    if (listener->closer && !any_accepting(listener)) {
        co_resume(g_steal_pointer(&listener->closer));
    }
}

static void accept_done(RingOp *op, int res)
{
    Port *port = (Port *)op; /* its first member */
    Listener *listener = port->listener;

    port->accepting = false;
    if (listener->closing) {
        closing_done(listener, res);
    } else if (res >= 0) {
        accepted(listener, port, res);
    } else if (passes_by_itself(res)) {
        loop_timer_set(&listener->go_on, loop_now_ns() + RETRY_NS);
    } else if (res != -EINVAL && res != -EBADF) {
        start_accept(port); /* that connection failed, or a pause ended as soon as it began */
    }
}

static void cancel_accepts(Listener *listener)
{
    for (unsigned i = 0; i < listener->n_ports; i++) {
        if (listener->ports[i].accepting) {
            ring_cancel(&listener->loop->ring, &listener->ports[i].accept);
        }
    }
}

Listener *co_listener_new(const SocketAddr *addr, int backlog, ListenerFn *fn, void *opaque,
                          GError **errp)
{
    ListenerBinding binding;
    Listener *listener;

    if (!co_listener_bind(addr, backlog, &binding, errp)) {
        return NULL;
    }
    listener = g_new0(Listener, 1);
    *listener = (Listener){.loop = loop_current(), .binding = binding, .fn = fn,
                           .opaque = opaque, .keep_alive = addr->keep_alive};
    loop_timer_init(&listener->go_on, go_on, listener);
    listener->n_ports = binding.fds->len;
    listener->ports = g_new0(Port, listener->n_ports);
    for (unsigned i = 0; i < listener->n_ports; i++) {
        listener->ports[i] = (Port){.accept.done = accept_done, .listener = listener,
                                    .fd = g_array_index(binding.fds, int, i), .held = -1};
        start_accept(&listener->ports[i]);
    }
    return listener;
}

const char *listener_address(const Listener *listener)
{
    return listener->binding.address;
}

void listener_set_paused(Listener *listener, bool paused)
{
    g_assert(listener->loop == loop_current());
    if (paused == listener->paused) {
        return;
    }
    listener->paused = paused;
    if (paused) {
        loop_timer_cancel(&listener->go_on);
        cancel_accepts(listener);
    } else {
        loop_timer_set(&listener->go_on, 0);
    }
}

void co_listener_free(Listener *listener)
{
    if (!listener) {
        return;
    }
    g_assert(listener->loop == loop_current());
    listener->closing = true;
    loop_timer_cancel(&listener->go_on);
    cancel_accepts(listener);
    if (any_accepting(listener)) {
        listener->closer = co_self();
        co_suspend();
    }
    for (unsigned i = 0; i < listener->n_ports; i++) {
        if (listener->ports[i].held >= 0) {
            close(listener->ports[i].held);
        }
    }
    listener_unbind(&listener->binding);
    g_free(listener->ports);
    g_free(listener);
}
