/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QMP sessions; see session.h. */
#include "monitor/session.h"

#include <errno.h>

#include "io/co-lock.h"
#include "monitor/events.h"
#include "monitor/json-stream.h"
#include "monitor/message.h"

/* What the reader found. */
typedef struct Input {
    json_t *value; /* or NULL */
    char *text;    /* how it was written; without a value: what is wrong with it */
} Input;

struct QmpSession {
    Socket *socket;
    bool pretty;
    QmpMode mode;
    EventListener listener;

    JsonStream *stream;
    GQueue inputs;    /* of Input */
    CoQueue room;     /* the reader waits for it */
    CoQueue filled;   /* the executor waits for it */
    bool input_ended; /* the reader has ended */
    bool stopped;     /* the executor takes nothing more, and input is dropped */
    bool closing;
    bool executing;

    GString *output;   /* what the writer has not begun to send */
    size_t sending;    /* bytes that it is at */
    CoQueue to_say;    /* the writer waits for it */
    bool output_ended; /* nothing more will be said: the writer ends when all is sent */
    bool broken;       /* the client takes nothing more */

    unsigned helpers; /* executor and writer */
    CoQueue changed;  /* a helper has ended */
};

static void input_free(Input *input)
{
    json_decref(input->value);
    g_free(input->text);
    g_free(input);
}

/* --- output --- */

/* Nothing more is sent; the reader sees the end of the stream. */
static void give_up(QmpSession *session)
{
    session->broken = true;
    g_string_truncate(session->output, 0);
    socket_shutdown(session->socket);
    co_queue_wake_all(&session->to_say);
}

static void say(QmpSession *session, const char *text)
{
    if (session->broken) {
        return;
    }
    g_string_append(session->output, text);
    if (session->output->len + session->sending > QMP_SESSION_MAX_OUTPUT) {
        g_warning("QMP client on %s does not read: disconnected", session->socket->peer);
        give_up(session);
    }
    co_queue_wake_all(&session->to_say);
}

static void say_message(QmpSession *session, const json_t *message)
{
    g_autofree char *text = qmp_format(message, session->pretty);

    say(session, text);
}

static void on_event(void *opaque, json_t *event)
{
    QmpSession *session = opaque;

    if (session->mode.negotiated) {
        say_message(session, event);
    }
}

static void co_send_output(QmpSession *session)
{
    g_autoptr(GString) text = g_steal_pointer(&session->output);
    int ret;

    session->output = g_string_new(NULL);
    session->sending = text->len;
    ret = co_socket_send_buf(session->socket, text->str, text->len);
    session->sending = 0;
    if (ret < 0 && !session->broken) {
        give_up(session);
    }
}

static void helper_ended(QmpSession *session)
{
    session->helpers--;
    co_queue_wake_all(&session->changed);
}

static void co_writer(void *opaque)
{
    QmpSession *session = opaque;

    while (session->output->len || !session->output_ended) {
        if (session->output->len) {
            co_send_output(session);
        } else {
            co_queue_wait(&session->to_say);
        }
    }
    helper_ended(session);
}

/* --- commands --- */

static void co_answer(QmpSession *session, const Input *input)
{
    g_autofree char *answer =
        input->value ? co_qmp_answer(input->value, input->text, &session->mode, session->pretty)
                     : qmp_refuse(input->text, session->pretty);

    say(session, answer);
}

static Input *co_next_input(QmpSession *session)
{
    Input *input = NULL;

    while (!session->stopped && !(input = g_queue_pop_head(&session->inputs)) &&
           !session->input_ended) {
        co_queue_wait(&session->filled);
    }
    co_queue_wake_all(&session->room);
    return input;
}

static void co_executor(void *opaque)
{
    QmpSession *session = opaque;
    Input *input;

    while ((input = co_next_input(session))) {
        session->executing = true;
        co_answer(session, input);
        session->executing = false;
        input_free(input);
        co_queue_wake_all(&session->changed);
    }
    helper_ended(session);
}

/* --- input --- */

static void on_json(void *opaque, json_t *value, const char *text)
{
    QmpSession *session = opaque;
    Input *input = g_new0(Input, 1);

    input->value = value;
    input->text = g_strdup(text);
    g_queue_push_tail(&session->inputs, input);
    co_queue_wake_all(&session->filled);
}

/* Byte by byte where the queue fills: a buffer can hold many requests. */
static void co_feed(QmpSession *session, const char *data, size_t len)
{
    for (size_t i = 0; i < len && !session->stopped; i++) {
        json_stream_feed(session->stream, data + i, 1);
        while (g_queue_get_length(&session->inputs) >= QMP_SESSION_MAX_REQUESTS &&
               !session->stopped) {
            co_queue_wait(&session->room);
        }
    }
}

static void co_read(QmpSession *session)
{
    g_autofree char *buf = g_malloc(QMP_SESSION_READ_BYTES);
    ssize_t got;

    while (!session->closing &&
           (got = co_socket_recv(session->socket, buf, QMP_SESSION_READ_BYTES)) > 0) {
        co_feed(session, buf, (size_t)got);
    }
    session->input_ended = true;
    co_queue_wake_all(&session->filled);
}

/* --- life --- */

QmpSession *qmp_session_new(Socket *socket, bool pretty)
{
    QmpSession *session = g_new0(QmpSession, 1);

    session->socket = socket;
    session->pretty = pretty;
    session->output = g_string_new(NULL);
    session->stream = json_stream_new(on_json, session);
    session->listener = (EventListener){.fn = on_event, .opaque = session};
    g_queue_init(&session->inputs);
    return session;
}

/* A client that left for good, or does not read, gets a limited time to take what is said last. */
static void co_say_goodbye(QmpSession *session)
{
    int64_t deadline;

    while (session->helpers == 2) {
        co_queue_wait(
            &session->changed); /* the command that runs, and what was read before the end */
    }
    session->output_ended = true;
    co_queue_wake_all(&session->to_say);
    deadline = loop_now_ns() + QMP_SESSION_GOODBYE_NS;
    while (session->helpers) {
        if (!co_queue_wait_until(&session->changed, deadline)) {
            give_up(session);
            deadline = INT64_MAX;
        }
    }
}

static void greet(QmpSession *session)
{
    json_t *greeting = qmp_greeting();

    say_message(session, greeting);
    json_decref(greeting);
}

void co_qmp_session_run(QmpSession *session)
{
    greet(session);
    events_add_listener(&session->listener);
    session->helpers = 2;
    co_start(co_writer, session);
    co_start(co_executor, session);
    co_read(session);
    co_say_goodbye(session);
    events_remove_listener(&session->listener);
    socket_shutdown(session->socket);
}

void qmp_session_stop(QmpSession *session)
{
    session->stopped = true;
    co_queue_wake_all(&session->filled);
    co_queue_wake_all(&session->room);
}

void qmp_session_close(QmpSession *session)
{
    qmp_session_stop(session);
    session->closing = true;
    socket_interrupt(session->socket);
}

bool qmp_session_busy(const QmpSession *session)
{
    return session->executing;
}

void co_qmp_session_wait(QmpSession *session)
{
    co_queue_wait(&session->changed);
}

void qmp_session_free(QmpSession *session)
{
    Input *input;

    while ((input = g_queue_pop_head(&session->inputs))) {
        input_free(input);
    }
    json_stream_free(session->stream);
    g_string_free(session->output, true);
    socket_free(session->socket);
    g_free(session);
}
