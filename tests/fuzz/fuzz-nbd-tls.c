/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of a server that requires TLS.  The first byte of the input chooses:
 *
 * bits 0-1: the rest is said in clear (0, 3), is the content of records (1), or is steps, each of
 *           what is done to a record, the length of its content, and the content (2)
 * bit 2:    TLS 1.2, else 1.3
 * bit 3:    what is in clear comes behind STARTTLS, in place of the handshake
 * bit 4:    records come behind GO, in transmission
 *
 * The client is a thread, so that gnutls can wait.
 */
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <gnutls/gnutls.h>

#include "block/objects/tls-object.h"
#include "nbd-export/wire.h"
#include "tests/fuzz/fuzz-nbd.h"

#define KEY "00112233445566778899aabbccddeeff"
#define PATIENCE_SECONDS 15 /* more than the server has for a handshake */
#define RECORD 1000
#define TLS_1_2 "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+PSK"
#define TLS_1_3 "NORMAL:-VERS-ALL:+VERS-TLS1.3:+PSK:+DHE-PSK:+ECDHE-PSK"

enum { IN_CLEAR, RECORDS, STEPS };
enum { PLAIN, CUT, FLIP, DOUBLE, SWAP, ALERT, KEY_UPDATE, KEY_UPDATE_BOTH, BYE, RENEGOTIATE,
       WHATS };

typedef struct Peer {
    const uint8_t *data;
    size_t size;
    uint8_t choice;
    int fd;
    gnutls_session_t session;
    bool mutilates, full; /* what gnutls sends goes to @out; the server takes no more */
    GByteArray *out, *held;
    int done; /* atomic */
} Peer;

static char *key_dir, *key_file;
static UserObject *creds;

/* The server hears no more from one whose answers fill the socket. */
static void say(Peer *peer, const void *data, size_t size)
{
    if (!peer->full && send(peer->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size) {
        peer->full = true;
    }
}

static ssize_t push(gnutls_transport_ptr_t opaque, const void *data, size_t size)
{
    Peer *peer = opaque;

    if (peer->mutilates) {
        g_byte_array_append(peer->out, data, size);
    } else {
        say(peer, data, size);
    }
    return (ssize_t)size;
}

/* Behind the handshake gnutls shall send and not wait. */
static ssize_t pull(gnutls_transport_ptr_t opaque, void *data, size_t size)
{
    Peer *peer = opaque;
    ssize_t got = recv(peer->fd, data, size, peer->mutilates ? MSG_DONTWAIT : 0);

    if (got < 0) {
        gnutls_transport_set_errno(peer->session, errno);
    }
    return got;
}

static void hear_out(Peer *peer)
{
    static char buffer[64 << 10];
    ssize_t got;

    shutdown(peer->fd, SHUT_WR);
    do {
        got = recv(peer->fd, buffer, sizeof(buffer), 0);
    } while (got > 0 || (got < 0 && errno == EINTR));
    if (got < 0 && errno == EAGAIN) {
        g_error("the server keeps a client that has said all");
    }
}

static bool start_tls(Peer *peer)
{
    uint8_t option[4 + NBD_OPTION_HEADER_SIZE], hello[18], answer[20];
    uint8_t *p = nbd_put32(option, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);

    nbd_put32(nbd_put32(nbd_put64(p, NBD_OPTION_MAGIC), NBD_OPT_STARTTLS), 0);
    say(peer, option, sizeof(option));
    return recv_raw(peer->fd, hello, sizeof(hello)) && recv_raw(peer->fd, answer, sizeof(answer));
}

static void send_go(Peer *peer)
{
    uint8_t option[NBD_OPTION_HEADER_SIZE + 10];
    uint8_t *p = nbd_put32(nbd_put64(option, NBD_OPTION_MAGIC), NBD_OPT_GO);

    p = nbd_put32(nbd_put32(p, 10), 4);
    memcpy(p, "maps\0\0", 6);
    gnutls_record_send(peer->session, option, sizeof(option));
}

/* What gnutls has to send for a step, not yet mutilated. */
static void make_record(Peer *peer, uint8_t what, const uint8_t *data, size_t size)
{
    bool old = peer->choice & 4;

    if (what == ALERT && size >= 2) {
        gnutls_alert_level_t level = data[0] % 2 ? GNUTLS_AL_FATAL : GNUTLS_AL_WARNING;

        gnutls_alert_send(peer->session, level, data[1]);
    } else if ((what == KEY_UPDATE || what == KEY_UPDATE_BOTH) && !old) {
        gnutls_session_key_update(peer->session, what == KEY_UPDATE_BOTH ? GNUTLS_KU_PEER : 0);
    } else if (what == BYE) {
        gnutls_bye(peer->session, GNUTLS_SHUT_WR);
    } else if (what == RENEGOTIATE && old) {
        gnutls_handshake(peer->session);
    }
    if (size > 0) {
        gnutls_record_send(peer->session, data, size);
    }
}

static void mutilate(Peer *peer, uint8_t what, uint8_t where)
{
    GByteArray *out = peer->out;
    size_t at = out->len ? where * out->len / 256 : 0;

    if (what == CUT) {
        g_byte_array_set_size(out, at);
    } else if (what == FLIP && out->len) {
        out->data[at] ^= 1 << where % 8;
    }
    if (what == SWAP) {
        g_byte_array_append(peer->held, out->data, out->len);
    } else {
        say(peer, out->data, out->len);
        if (what == DOUBLE) {
            say(peer, out->data, out->len);
        }
        say(peer, peer->held->data, peer->held->len);
        g_byte_array_set_size(peer->held, 0);
    }
    g_byte_array_set_size(out, 0);
}

static void talk_in_steps(Peer *peer, const uint8_t *data, size_t size)
{
    peer->mutilates = true;
    while (size >= 2 && !peer->full) {
        uint8_t what = data[0] % WHATS;
        size_t len = MIN(data[1], size - 2);

        make_record(peer, what, data + 2, len);
        mutilate(peer, what, len ? data[2] : data[0]);
        data += 2 + len;
        size -= 2 + len;
    }
}

static void talk_in_tls(Peer *peer)
{
    if (gnutls_handshake(peer->session) < 0) {
        g_error("the handshake failed");
    }
    if (peer->choice & 16) {
        send_go(peer);
    }
    if (peer->choice % 4 == STEPS) {
        talk_in_steps(peer, peer->data, peer->size);
        return;
    }
    for (size_t at = 0; at < peer->size && !peer->full; at += RECORD) {
        gnutls_record_send(peer->session, peer->data + at, MIN(RECORD, peer->size - at));
    }
}

static void with_session(Peer *peer)
{
    const char *priority = peer->choice & 4 ? TLS_1_2 : TLS_1_3;
    gnutls_datum_t key = {(unsigned char *)KEY, strlen(KEY)};
    gnutls_psk_client_credentials_t psk;

    g_assert_cmpint(gnutls_init(&peer->session, GNUTLS_CLIENT), ==, 0);
    g_assert_cmpint(gnutls_psk_allocate_client_credentials(&psk), ==, 0);
    gnutls_psk_set_client_credentials(psk, "me", &key, GNUTLS_PSK_KEY_HEX);
    g_assert_cmpint(gnutls_priority_set_direct(peer->session, priority, NULL), ==, 0);
    gnutls_credentials_set(peer->session, GNUTLS_CRD_PSK, psk);
    gnutls_transport_set_ptr(peer->session, peer);
    gnutls_transport_set_push_function(peer->session, push);
    gnutls_transport_set_pull_function(peer->session, pull);
    talk_in_tls(peer);
    gnutls_deinit(peer->session);
    gnutls_psk_free_client_credentials(psk);
}

static void *peer_main(void *opaque)
{
    Peer *peer = opaque;
    bool in_clear = peer->choice % 4 == IN_CLEAR || peer->choice % 4 > STEPS;

    if ((!in_clear || peer->choice & 8) && !start_tls(peer)) {
        g_error("the server refuses STARTTLS");
    }
    if (in_clear) {
        say(peer, peer->data, peer->size);
    } else {
        with_session(peer);
    }
    hear_out(peer);
    g_atomic_int_set(&peer->done, 1);
    return NULL;
}

static void co_run_peer(void *opaque)
{
    Peer *peer = opaque;
    struct timeval patience = {.tv_sec = PATIENCE_SECONDS};

    peer->fd = connect_raw(served.socket);
    setsockopt(peer->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    GThread *thread = g_thread_new("peer", peer_main, peer);
    while (!g_atomic_int_get(&peer->done)) {
        co_sleep_ns(20000);
    }
    g_thread_join(thread);
    close(peer->fd);
}

static void remove_keys(void)
{
    user_objects_free();
    g_unlink(key_file);
    g_rmdir(key_dir);
    g_free(key_file);
    g_free(key_dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    g_autoptr(GError) error = NULL;

    key_dir = g_dir_make_tmp("fuzz-nbd-tls-XXXXXX", &error);
    g_assert_no_error(error);
    key_file = g_build_filename(key_dir, "keys.psk", NULL);
    g_file_set_contents(key_file, "me:" KEY "\n", -1, &error);
    g_assert_no_error(error);
    TlsCredsOptions options = {.dir = key_dir, .server = true};
    TlsCreds *state = tls_creds_new_psk(&options, &error);
    g_assert_no_error(error);
    user_object_add("tls", OBJECT_TYPE_TLS_CREDS_PSK, state, tls_object_free);
    creds = user_object_find("tls");
    atexit(remove_keys); /* behind stop_serving() */
    fuzz_serve(creds);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    Peer peer = {.data = data + 1, .size = MIN(size - 1, LARGEST_TALK), .choice = data[0],
                 .out = g_byte_array_new(), .held = g_byte_array_new()};
    fuzz_in_co(fuzz_loop, co_run_peer, &peer);
    g_byte_array_unref(peer.out);
    g_byte_array_unref(peer.held);
    return 0;
}
