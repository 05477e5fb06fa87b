/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests: TCP connections inside of the process, and what the kernel can do of TLS. */
#ifndef TESTS_UNIT_TCP_UTIL_H
#define TESTS_UNIT_TCP_UTIL_H

#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/tls-kernel-keys.h"

/* As socketpair(), over TCP. */
static inline void tcp_pair(int *fds)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    g_assert_cmpint(listener, >=, 0);
    g_assert_cmpint(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(listener, 1), ==, 0);
    g_assert_cmpint(getsockname(listener, (struct sockaddr *)&addr, &len), ==, 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fds[1], (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    fds[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    g_assert_cmpint(fds[0], >=, 0);
    close(listener);
    for (unsigned i = 0; i < 2; i++) {
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
}

/* The kernel takes no keys for a connection of which the other side has closed its end. */
static inline bool is_established(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);

    g_assert_cmpint(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), ==, 0);
    return info.tcpi_state == TCP_ESTABLISHED;
}

typedef enum KernelTls {
    KERNEL_TLS_NONE,
    KERNEL_TLS_OLD,     /* keys once and for all */
    KERNEL_TLS_UPDATES, /* Linux 6.14 */
} KernelTls;

static inline KernelTls kernel_tls(gnutls_cipher_algorithm_t cipher)
{
    static unsigned char zeros[32];
    unsigned key_len = (unsigned)gnutls_cipher_get_key_size(cipher);
    TlsKeys keys = {
        .version = GNUTLS_TLS1_3, .cipher = cipher, .key = {zeros, key_len}, .iv = {zeros, 12},
    };
    TlsKernelKeys packed;
    KernelTls found = KERNEL_TLS_NONE;
    int fds[2];

    g_assert_true(tls_kernel_keys_pack(&keys, &packed));
    tcp_pair(fds);
    if (setsockopt(fds[0], IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) == 0 &&
        setsockopt(fds[0], 282, TLS_TX, &packed, packed.len) == 0) {
        found = setsockopt(fds[0], 282, TLS_TX, &packed, packed.len) == 0 ? KERNEL_TLS_UPDATES
                                                                          : KERNEL_TLS_OLD;
    }
    close(fds[0]);
    close(fds[1]);
    return found;
}

/* How many connections of this machine the kernel ever encrypted for. */
static inline unsigned long kernel_tls_count(void)
{
    g_autofree char *text = NULL;
    const char *line = NULL;

    if (g_file_get_contents("/proc/net/tls_stat", &text, NULL, NULL)) {
        line = strstr(text, "TlsTxSw ");
    }
    return line ? strtoul(line + strlen("TlsTxSw "), NULL, 10) : 0;
}

#endif
