/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Standard input and output as a socket; see stdio-socket.h.
 *
 * Their O_NONBLOCK belongs to whoever started us, and is left alone: bytes are moved only when the
 * descriptor is ready, and no more than what it takes then without blocking.
 */
#include "monitor/stdio-socket.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

typedef struct StdioSocket {
    Socket base;
    LoopWatch *in, *out;
    Co *reader, *writer; /* who waits for them */
    bool interrupted, shut;
} StdioSocket;

static void wake(Co **waiter)
{
    if (*waiter) {
        co_wake(g_steal_pointer(waiter));
    }
}

static void on_in(void *opaque, int revents)
{
    StdioSocket *s = opaque;

    loop_watch_set(s->in, 0);
    wake(&s->reader);
}

static void on_out(void *opaque, int revents)
{
    StdioSocket *s = opaque;

    loop_watch_set(s->out, 0);
    wake(&s->writer);
}

static void co_wait_for(LoopWatch *watch, int event, Co **waiter)
{
    *waiter = co_self();
    loop_watch_set(watch, event);
    co_yield ();
    loop_watch_set(watch, 0);
}

static ssize_t co_stdio_recv(Socket *base, void *buf, size_t len)
{
    StdioSocket *s = (StdioSocket *)base;
    ssize_t got = -EAGAIN;

    while (got == -EAGAIN && !s->shut) {
        if (!s->interrupted) {
            co_wait_for(s->in, POLLIN, &s->reader);
        }
        if (s->interrupted) {
            s->interrupted = false;
            return -EINTR;
        }
        got = s->shut ? 0 : read(STDIN_FILENO, buf, len);
        if (got < 0) {
            got = errno == EINTR ? -EAGAIN : -errno;
        }
    }
    return s->shut ? 0 : got;
}

static int co_stdio_send(Socket *base, const IoSlice *data)
{
    StdioSocket *s = (StdioSocket *)base;
    g_autofree char *text = g_malloc(data->len);
    size_t done = 0;

    io_slice_read(data, text);
    while (done < data->len) {
        ssize_t put;

        co_wait_for(s->out, POLLOUT, &s->writer);
        if (s->shut) {
            return -EPIPE;
        }
        put = write(STDOUT_FILENO, text + done, MIN(data->len - done, PIPE_BUF));
        if (put < 0 && errno != EAGAIN && errno != EINTR) {
            return -errno;
        }
        done += put > 0 ? (size_t)put : 0;
    }
    return 0;
}

static void stdio_interrupt(Socket *base)
{
    StdioSocket *s = (StdioSocket *)base;

    s->interrupted = true;
    wake(&s->reader);
}

static void stdio_shutdown(Socket *base)
{
    StdioSocket *s = (StdioSocket *)base;

    s->shut = true;
    wake(&s->reader);
    wake(&s->writer);
}

static int stdio_fd(const Socket *base)
{
    return STDIN_FILENO;
}

static void stdio_free(Socket *base)
{
    StdioSocket *s = (StdioSocket *)base;

    loop_watch_free(s->in);
    loop_watch_free(s->out);
    g_free(s);
}

static const SocketOps stdio_ops = {
    .co_recv = co_stdio_recv,
    .co_send = co_stdio_send,
    .interrupt = stdio_interrupt,
    .shutdown = stdio_shutdown,
    .fd = stdio_fd,
    .free = stdio_free,
};

Socket *stdio_socket_new(void)
{
    StdioSocket *s = g_new0(StdioSocket, 1);

    s->base.ops = &stdio_ops;
    s->base.peer = g_strdup("stdio");
    s->in = loop_watch_new(STDIN_FILENO, on_in, s);
    s->out = loop_watch_new(STDOUT_FILENO, on_out, s);
    return &s->base;
}
