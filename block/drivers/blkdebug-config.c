/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The config file of blkdebug:
 *
 *     # comment
 *     [inject-error "id"]
 *     event = "read_aio"
 *     errno = "28"
 *
 * Each section is a rule.  The id may be left out; it only must be unique.
 */
#include "block/drivers/blkdebug-rules.h"
#include "io/worker.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_MAX (1 << 20)

/* What is being read: at most one of the two is set. */
typedef struct Config {
    BlkdebugRules *rules;
    BlkdebugInjectErrorOptions *error;
    BlkdebugSetStateOptions *state;
    bool has_event;
    GHashTable *ids; /* of "group id", owned */
} Config;

/* --- values ------------------------------------------------------------------------------- */

static bool parse_number(const char *name, const char *value, int64_t *number, GError **errp)
{
    char *end;

    errno = 0;
    unsigned long long parsed = strtoull(value, &end, 0);
    if (errno == ERANGE) {
        return tm_error_set(errp, "Value '%s' is too large for parameter '%s'", value, name);
    }
    if (end == value || *end) {
        return tm_error_set(errp, "Parameter '%s' expects a number", name);
    }
    *number = (int64_t)parsed;
    return true;
}

static bool parse_bool(const char *name, const char *value, bool *flag, GError **errp)
{
    static const char *const yes[] = {"on", "yes", "true", "y", NULL};
    static const char *const no[] = {"off", "no", "false", "n", NULL};

    if (!g_strv_contains(yes, value) && !g_strv_contains(no, value)) {
        return tm_error_set(errp, "Parameter '%s' expects 'on' or 'off'", name);
    }
    *flag = g_strv_contains(yes, value);
    return true;
}

static bool set_error_option(BlkdebugInjectErrorOptions *o, const char *name, const char *value,
                             GError **errp)
{
    if (strcmp(name, "iotype") == 0) {
        o->has_iotype = true;
        return BlkdebugIOType_parse_name(value, &o->iotype, errp);
    }
    if (strcmp(name, "errno") == 0) {
        o->has_errno = true;
        return parse_number(name, value, &o->q_errno, errp);
    }
    if (strcmp(name, "sector") == 0) {
        o->has_sector = true;
        return parse_number(name, value, &o->sector, errp);
    }
    if (strcmp(name, "once") == 0) {
        o->has_once = true;
        return parse_bool(name, value, &o->once, errp);
    }
    if (strcmp(name, "immediately") == 0) {
        o->has_immediately = true;
        return parse_bool(name, value, &o->immediately, errp);
    }
    return tm_error_set(errp, "Invalid parameter '%s'", name);
}

static bool set_state_option(BlkdebugSetStateOptions *o, const char *name, const char *value,
                             GError **errp)
{
    if (strcmp(name, "new_state") == 0) {
        return parse_number(name, value, &o->new_state, errp);
    }
    return tm_error_set(errp, "Invalid parameter '%s'", name);
}

static bool set_option(Config *c, const char *name, const char *value, GError **errp)
{
    if (!c->error && !c->state) {
        return tm_error_set(errp, "no group defined");
    }
    if (strcmp(name, "event") == 0) {
        c->has_event = true;
        return BlkdebugEvent_parse_name(value, c->error ? &c->error->event : &c->state->event,
                                        errp);
    }
    if (strcmp(name, "state") == 0) {
        *(c->error ? &c->error->has_state : &c->state->has_state) = true;
        return parse_number(name, value, c->error ? &c->error->state : &c->state->state, errp);
    }
    return c->error ? set_error_option(c->error, name, value, errp)
                    : set_state_option(c->state, name, value, errp);
}

/* --- sections ----------------------------------------------------------------------------- */

/* The rule that was read is complete. */
static bool end_section(Config *c, GError **errp)
{
    if ((c->error || c->state) && !c->has_event) {
        return tm_error_set(errp, "Missing event name for rule");
    }
    if (c->error) {
        blkdebug_rules_add_error(c->rules, c->error);
    }
    if (c->state) {
        blkdebug_rules_add_state(c->rules, c->state);
    }
    g_clear_pointer(&c->error, BlkdebugInjectErrorOptions_free);
    g_clear_pointer(&c->state, BlkdebugSetStateOptions_free);
    c->has_event = false;
    return true;
}

static bool is_identifier(const char *id)
{
    if (!g_ascii_isalpha(id[0])) {
        return false;
    }
    return strspn(id, "-._" G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS) == strlen(id);
}

static bool check_id(Config *c, const char *group, const char *id, GError **errp)
{
    if (!is_identifier(id)) {
        return tm_error_set(errp, "Parameter 'id' expects an identifier");
    }
    if (!g_hash_table_add(c->ids, g_strdup_printf("%s %s", group, id))) {
        return tm_error_set(errp, "Duplicate ID '%s' for %s", id, group);
    }
    return true;
}

static bool begin_section(Config *c, const char *group, const char *id, GError **errp)
{
    if (!end_section(c, errp)) {
        return false;
    }
    if (strcmp(group, "inject-error") == 0) {
        c->error = g_new0(BlkdebugInjectErrorOptions, 1);
    } else if (strcmp(group, "set-state") == 0) {
        c->state = g_new0(BlkdebugSetStateOptions, 1);
    } else {
        return tm_error_set(errp, "There is no option group '%s'", group);
    }
    return !id || check_id(c, group, id, errp);
}

/* --- lines -------------------------------------------------------------------------------- */

/* The text between a quote at @at and the next one; "" where there is no quote. */
static char *quoted(const char *at)
{
    return *at == '"' ? g_strndup(at + 1, strcspn(at + 1, "\"")) : g_strdup("");
}

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \t\r\f\v");
}

/* [group] or [group "id"] */
static bool parse_header(Config *c, const char *line, GError **errp)
{
    const char *end = strchr(line, ']');

    if (!end) {
        return tm_error_set(errp, "parse error");
    }
    g_autofree char *group = g_strndup(line + 1, MIN(strcspn(line + 1, " ]"), 63));
    const char *rest = skip_space(line + 1 + strlen(group));
    g_autofree char *id = *rest == '"' ? quoted(rest) : NULL;
    return begin_section(c, group, id, errp);
}

/* name = "value" */
static bool parse_assignment(Config *c, const char *line, GError **errp)
{
    const char *start = skip_space(line);
    g_autofree char *name = g_strndup(start, strcspn(start, " \t\r\f\v"));
    const char *rest = skip_space(start + strlen(name));

    if (!*name) {
        return tm_error_set(errp, "parse error");
    }
    g_autofree char *value = quoted(*rest == '=' ? skip_space(rest + 1) : "");
    return set_option(c, name, value, errp);
}

static bool parse_line(Config *c, const char *line, GError **errp)
{
    switch (line[0]) {
    case '\0':
    case '#':
        return true;
    case '[':
        return parse_header(c, line, errp);
    default:
        return parse_assignment(c, line, errp);
    }
}

static bool parse_config(BlkdebugRules *rules, const char *text, GError **errp)
{
    Config c = {.rules = rules,
                .ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL)};
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    bool ok = true;

    for (char **line = lines; ok && *line; line++) {
        ok = parse_line(&c, *line, errp);
    }
    ok = ok && end_section(&c, errp);
    BlkdebugInjectErrorOptions_free(c.error);
    BlkdebugSetStateOptions_free(c.state);
    g_hash_table_unref(c.ids);
    return ok;
}

/* --- the file ----------------------------------------------------------------------------- */

typedef struct ConfigFile {
    const char *path;
    GString *text;
} ConfigFile;

static int read_text(int fd, GString *text)
{
    char buf[4096];
    ssize_t n;

    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        if (text->len + n > CONFIG_MAX) {
            return -EFBIG;
        }
        g_string_append_len(text, buf, n);
    }
    return n < 0 ? -errno : 0;
}

static int read_worker(void *opaque)
{
    ConfigFile *file = opaque;
    int fd = open(file->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a FIFO reads as empty */

    if (fd < 0) {
        return -errno;
    }
    int ret = read_text(fd, file->text);
    close(fd);
    return ret;
}

bool co_blkdebug_rules_load(BlkdebugRules *rules, const char *path, GError **errp)
{
    g_autoptr(GString) text = g_string_new(NULL);
    ConfigFile file = {.path = path, .text = text};
    int ret = co_in_worker(read_worker, &file);

    if (ret < 0) {
        return tm_error_set_errno(errp, -ret, "Could not read blkdebug config file");
    }
    return parse_config(rules, text->str, errp);
}
