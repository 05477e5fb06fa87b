/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kernel TLS; see tls-kernel.h. */
#include "io/tls-kernel.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "io/tls-kernel-keys.h"

#define RECORD 16384
#define MAX_RECORDS (UINT64_C(1) << 24) /* of one key of AES-GCM */
#define TYPE_ALERT 21
#define TYPE_HANDSHAKE 22
#define KEY_UPDATE 24

struct TlsKernel {
    Socket *inner;
    gnutls_session_t session;
    uint64_t records; /* about as many were sent with these keys */
    bool ages;        /* the cipher wants new keys at times */
    bool can_update;
    bool update_due;  /* before anything else is sent */
    bool updating;    /* gnutls makes new keys */
};

/* --- start and end --- */

/*
 * Keys that are no keys are refused by each kernel, without effect: those that take keys but once
 * say that first (EBUSY).  The others count it, as TlsTxRekeyError.
 */
static bool can_update(int fd)
{
    struct tls_crypto_info nothing = {0};

    return setsockopt(fd, SOL_TLS, TLS_TX, &nothing, sizeof(nothing)) < 0 && errno == EINVAL;
}

/* A connection with the first option alone is plain TCP. */
static bool start(int fd, gnutls_session_t session)
{
    return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) == 0 &&
           tls_kernel_keys_set(fd, session) == 0;
}

TlsKernel *tls_kernel_start(Socket *inner, gnutls_session_t session)
{
    int fd = socket_fd(inner);
    bool is_1_3 = gnutls_protocol_get_version(session) == GNUTLS_TLS1_3;
    TlsKernel *kernel;

    if (!start(fd, session)) {
        return NULL;
    }
    kernel = g_new0(TlsKernel, 1);
    kernel->inner = inner;
    kernel->session = session;
    kernel->can_update = is_1_3 && can_update(fd);
    kernel->ages = gnutls_cipher_get(session) != GNUTLS_CIPHER_CHACHA20_POLY1305;
    return kernel;
}

void tls_kernel_free(TlsKernel *kernel)
{
    g_free(kernel);
}

/* --- records that carry no data of the caller's --- */

/* Without waiting: 0 or -errno. */
static int send_record(TlsKernel *kernel, uint8_t type, const void *data, size_t len)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(type))];
    } control = {0};
    struct iovec iov = {(void *)data, len};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.space,
        .msg_controllen = sizeof(control.space),
    };
    ssize_t n;

    control.header.cmsg_level = SOL_TLS;
    control.header.cmsg_type = TLS_SET_RECORD_TYPE;
    control.header.cmsg_len = CMSG_LEN(sizeof(type));
    *CMSG_DATA(&control.header) = type;
    do {
        n = sendmsg(socket_fd(kernel->inner), &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* The same, and waits; -EINTR after socket_interrupt_send(), with nothing sent. */
static int co_send_record(TlsKernel *kernel, uint8_t type, const void *data, size_t len)
{
    int ret;

    while ((ret = send_record(kernel, type, data, len)) == -EAGAIN) {
        ret = co_socket_wait_room(kernel->inner);
        if (ret < 0) {
            break;
        }
    }
    return ret;
}

int tls_kernel_alert(TlsKernel *kernel, gnutls_alert_level_t level,
                     gnutls_alert_description_t what)
{
    uint8_t alert[] = {(uint8_t)level, (uint8_t)what};

    return send_record(kernel, TYPE_ALERT, alert, sizeof(alert));
}

/* --- new keys --- */

bool tls_kernel_update(TlsKernel *kernel)
{
    kernel->update_due = kernel->can_update;
    return kernel->can_update;
}

bool tls_kernel_swallows(const TlsKernel *kernel)
{
    return kernel->updating;
}

/*
 * The kernel says that new keys follow, with the old ones.  Then gnutls makes them, and says the
 * same thing, which the other side must not hear twice.
 */
static int co_update(TlsKernel *kernel)
{
    static const uint8_t message[] = {KEY_UPDATE, 0, 0, 1, 0}; /* update_not_requested */
    int ret = co_send_record(kernel, TYPE_HANDSHAKE, message, sizeof(message));

    if (ret < 0) {
        return ret;
    }
    kernel->updating = true;
    ret = gnutls_session_key_update(kernel->session, 0) < 0 ? -EPROTO : 0;
    kernel->updating = false;
    if (ret == 0) {
        ret = tls_kernel_keys_set(socket_fd(kernel->inner), kernel->session);
    }
    if (ret < 0) { /* whatever was sent now would be rubbish to the other side */
        socket_shutdown(kernel->inner);
        return ret;
    }
    kernel->update_due = false;
    kernel->records = 0;
    return 0;
}

/* --- sending --- */

static void count(TlsKernel *kernel, size_t bytes)
{
    kernel->records += bytes / RECORD + 1;
    if (kernel->ages && kernel->can_update && kernel->records >= MAX_RECORDS) {
        kernel->update_due = true;
    }
}

ssize_t co_tls_kernel_send_some(TlsKernel *kernel, const IoSlice *data)
{
    int ret = kernel->update_due ? co_update(kernel) : 0;
    ssize_t n = ret < 0 ? ret : co_socket_send_some(kernel->inner, data);

    if (n > 0) {
        count(kernel, (size_t)n);
    }
    return n;
}

/* In pieces: Linux's TLS knows no MSG_WAITALL, with which the inner socket would send it all. */
int co_tls_kernel_send(TlsKernel *kernel, const IoSlice *data)
{
    bool interrupted = false;
    ssize_t n = 0;

    for (size_t done = 0; done < data->len; done += n > 0 ? (size_t)n : 0) {
        IoSlice rest = io_slice_sub(data, done, data->len - done);

        n = co_tls_kernel_send_some(kernel, &rest);
        if (n == -EINTR) {
            interrupted = true; /* it is for co_socket_send_some() */
        } else if (n < 0) {
            break;
        }
    }
    if (interrupted) {
        socket_interrupt_send(kernel->inner);
    }
    return n < 0 ? (int)n : 0;
}

/* --- the end --- */

/*
 * Of the records that were taken at most the last data and this one can be left, 17 KiB, and
 * close() tries once more to hand them to TCP.  There is room when a third of its buffer is free.
 */
int co_tls_kernel_finish(TlsKernel *kernel)
{
    static const uint8_t close_notify[] = {GNUTLS_AL_WARNING, GNUTLS_A_CLOSE_NOTIFY};
    int ret;

    do {
        ret = co_send_record(kernel, TYPE_ALERT, close_notify, sizeof(close_notify));
    } while (ret == -EINTR);
    while (ret == 0 && (ret = co_socket_wait_room(kernel->inner)) == -EINTR) {
        ret = 0;
    }
    return ret;
}
