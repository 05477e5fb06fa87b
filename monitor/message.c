/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QMP messages; see message.h. */
#include "monitor/message.h"

#include <string.h>

#include "monitor/member-text.h"
#include "qmp-schema/dispatch.h"
#include "qmp-schema/qmp-types.h"
#include "qmp-schema/schema-build.h"

typedef struct Request {
    const char *command;
    const json_t *arguments; /* or NULL */
    bool oob;
} Request;

/* A member that holds a command's name. */
static bool read_command(Request *request, const char *key, json_t *value, GError **errp)
{
    if (!json_is_string(value)) {
        return tm_error_set(errp, "QMP input member '%s' must be a string", key);
    }
    if (request->command) {
        return tm_error_set(errp, "QMP input member 'execute' clashes with 'exec-oob'");
    }
    request->command = json_string_value(value);
    request->oob = strcmp(key, "exec-oob") == 0;
    return true;
}

static bool read_arguments(Request *request, json_t *value, GError **errp)
{
    if (!json_is_object(value)) {
        return tm_error_set(errp, "QMP input member 'arguments' must be an object");
    }
    request->arguments = value;
    return true;
}

static bool read_member(Request *request, const char *key, json_t *value, bool oob, GError **errp)
{
    if (strcmp(key, "execute") == 0 || (oob && strcmp(key, "exec-oob") == 0)) {
        return read_command(request, key, value, errp);
    }
    if (strcmp(key, "arguments") == 0) {
        return read_arguments(request, value, errp);
    }
    if (strcmp(key, "id") == 0) {
        return true;
    }
    return tm_error_set(errp, "QMP input member '%s' is unexpected", key);
}

static bool read_request(Request *request, json_t *input, bool oob, GError **errp)
{
    const char *key;
    json_t *value;

    if (!json_is_object(input)) {
        return tm_error_set(errp, "QMP input must be a JSON object");
    }
    json_object_foreach(input, key, value)
    {
        if (!read_member(request, key, value, oob, errp)) {
            return false;
        }
    }
    return request->command || tm_error_set(errp, "QMP input lacks member 'execute'");
}

static const QmpCommand *find_command(const char *name)
{
    for (const QmpCommand *command = qmp_commands; command->name; command++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }
    return NULL;
}

static bool check_mode(const QmpCommand *command, const Request *request, const QmpMode *mode,
                       GError **errp)
{
    bool negotiates = command && (command->flags & QMP_COMMAND_BEFORE_NEGOTIATION);

    if (!mode->negotiated && !negotiates) {
        return tm_error_set_class(errp, TM_ERROR_COMMAND_NOT_FOUND,
                                  "Expecting capabilities negotiation with 'qmp_capabilities'");
    }
    if (!command) {
        return tm_error_set_class(errp, TM_ERROR_COMMAND_NOT_FOUND,
                                  "The command %s has not been found", request->command);
    }
    if (request->oob) {
        return tm_error_set(errp, "The command %s does not support OOB", request->command);
    }
    if (mode->negotiated && negotiates) {
        return tm_error_set_class(errp, TM_ERROR_COMMAND_NOT_FOUND,
                                  "Capabilities negotiation is already complete, command ignored");
    }
    return true;
}

static bool deeper_than(const json_t *value, int limit)
{
    const char *key;
    json_t *below;
    size_t i;

    if (!json_is_object(value) && !json_is_array(value)) {
        return false;
    }
    if (limit == 0) {
        return true;
    }
    json_object_foreach((json_t *)value, key, below)
    {
        if (deeper_than(below, limit - 1)) {
            return true;
        }
    }
    json_array_foreach(value, i, below)
    {
        if (deeper_than(below, limit - 1)) {
            return true;
        }
    }
    return false;
}

/* It is written out by recursion, on the stack of a coroutine. */
static bool usable_id(const json_t *id)
{
    return !deeper_than(id, QMP_MAX_ID_DEPTH);
}

/* The one command that changes the session; its handler has checked the arguments. */
static void negotiate(const json_t *arguments, QmpMode *mode)
{
    g_autoptr(QmpCapabilitiesArgs) args = QmpCapabilitiesArgs_parse(arguments, NULL, NULL);

    mode->negotiated = true;
    mode->oob = args && args->enable && args->enable->len > 0; /* the only capability there is */
}

static json_t *co_execute(json_t *input, QmpMode *mode, GError **errp)
{
    Request request = {0};
    const QmpCommand *command;
    json_t *result;

    if (!read_request(&request, input, mode->oob, errp)) {
        return NULL;
    }
    command = find_command(request.command);
    if (!check_mode(command, &request, mode, errp)) {
        return NULL;
    }
    if (!usable_id(json_object_get(input, "id"))) {
        tm_error_set(errp, "QMP input member 'id' is nested more than %d deep", QMP_MAX_ID_DEPTH);
        return NULL;
    }
    result = command->invoke(request.arguments, errp);
    if (result && (command->flags & QMP_COMMAND_BEFORE_NEGOTIATION)) {
        negotiate(request.arguments, mode);
    }
    return result;
}

char *qmp_format(const json_t *message, bool pretty)
{
    char *text = json_dumps(message, JSON_ENSURE_ASCII | (pretty ? JSON_INDENT(4) : 0));
    GString *lines = g_string_new(text);

    free(text);
    if (pretty) {
        g_string_replace(lines, "\n", "\r\n", 0); /* strings hold none: they escape it */
    }
    g_string_append(lines, "\r\n");
    return g_string_free(lines, false);
}

static json_t *error_reply(const char *class, const char *text)
{
    return json_pack("{s:{s:s, s:o}}", "error", "class", class, "desc", schema_json_string(text));
}

/* Adds the member "id" to @reply: but for numbers that jansson cannot hold, as they are in @text.
 */
static char *format_with_id(json_t *reply, json_t *id, const char *text, bool pretty)
{
    g_autofree char *number = json_is_real(id) ? member_number_text(text, "id") : NULL;
    g_autofree char *line = NULL;

    if (!number) {
        json_object_set(reply, "id", id);
        return qmp_format(reply, pretty);
    }
    line = qmp_format(reply, pretty);
    line[strlen(line) - (pretty ? 5 : 3)] = '\0'; /* [\r\n]}\r\n */
    return pretty ? g_strdup_printf("%s,\r\n    \"id\": %s\r\n}\r\n", line, number)
                  : g_strdup_printf("%s, \"id\": %s}\r\n", line, number);
}

char *co_qmp_answer(json_t *input, const char *text, QmpMode *mode, bool pretty)
{
    g_autoptr(GError) error = NULL;
    json_t *id = json_object_get(input, "id");
    json_t *result = co_execute(input, mode, &error);
    json_t *reply = result ? json_pack("{s:o}", "return", result)
                           : error_reply(tm_error_class_name(error), error->message);
    char *line =
        id && usable_id(id) ? format_with_id(reply, id, text, pretty) : qmp_format(reply, pretty);

    json_decref(reply);
    return line;
}

char *qmp_refuse(const char *error, bool pretty)
{
    json_t *reply = error_reply("GenericError", error);
    char *line = qmp_format(reply, pretty);

    json_decref(reply);
    return line;
}

/* Clients look for features by the version of the interface; ours is that of QEMU 10.0.2. */
json_t *qmp_version(void)
{
    return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "micro", 2, "minor", 0, "major", 10,
                     "package", "tidemark-" TIDEMARK_VERSION);
}

json_t *qmp_greeting(void)
{
    return json_pack("{s:{s:o, s:[s]}}", "QMP", "version", qmp_version(), "capabilities", "oob");
}
