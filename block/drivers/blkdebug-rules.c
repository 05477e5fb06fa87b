/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* When requests to a blkdebug node fail; see blkdebug-rules.h. */
#include "block/drivers/blkdebug-rules.h"

#include <errno.h>

#define SECTOR 512
#define MAX_ERRNO 4095
/* What a rule without a type is for: all but block status. */
#define DEFAULT_TYPES                                                                              \
    (1U << BLKDEBUG_IO_TYPE_READ | 1U << BLKDEBUG_IO_TYPE_WRITE |                                  \
     1U << BLKDEBUG_IO_TYPE_WRITE_ZEROES | 1U << BLKDEBUG_IO_TYPE_DISCARD |                        \
     1U << BLKDEBUG_IO_TYPE_FLUSH)

typedef struct ErrorRule {
    BlkdebugEvent event;
    int64_t state;  /* 0: any */
    unsigned types; /* bits 1 << BlkdebugIOType */
    int error;      /* -errno, or 0 */
    int64_t offset; /* bytes; -1: any */
    bool once, immediately;
} ErrorRule;

typedef struct StateRule {
    BlkdebugEvent event;
    int64_t state; /* 0: any */
    int64_t new_state;
} StateRule;

void blkdebug_rules_init(BlkdebugRules *rules)
{
    *rules = (BlkdebugRules){
        .errors = g_ptr_array_new_with_free_func(g_free),
        .states = g_ptr_array_new_with_free_func(g_free),
        .active = g_ptr_array_new(),
        .state = 1,
    };
}

void blkdebug_rules_clear(BlkdebugRules *rules)
{
    g_clear_pointer(&rules->active, g_ptr_array_unref);
    g_clear_pointer(&rules->states, g_ptr_array_unref);
    g_clear_pointer(&rules->errors, g_ptr_array_unref);
}

/* What is no errno at all would look like success to who gets it. */
static int error_of(int64_t number)
{
    if (number == 0) {
        return 0;
    }
    return number > 0 && number <= MAX_ERRNO ? -number : -EIO;
}

static int64_t offset_of(int64_t sector)
{
    return sector < 0 || sector > INT64_MAX / SECTOR ? -1 : sector * SECTOR;
}

void blkdebug_rules_add_error(BlkdebugRules *rules, const BlkdebugInjectErrorOptions *options)
{
    ErrorRule *rule = g_new(ErrorRule, 1);

    *rule = (ErrorRule){
        .event = options->event,
        .state = options->has_state ? options->state : 0,
        .types = options->has_iotype ? 1U << options->iotype : DEFAULT_TYPES,
        .error = options->has_errno ? error_of(options->q_errno) : -EIO,
        .offset = options->has_sector ? offset_of(options->sector) : -1,
        .once = options->has_once && options->once,
        .immediately = options->has_immediately && options->immediately,
    };
    g_ptr_array_add(rules->errors, rule);
}

void blkdebug_rules_add_state(BlkdebugRules *rules, const BlkdebugSetStateOptions *options)
{
    StateRule *rule = g_new(StateRule, 1);

    *rule = (StateRule){
        .event = options->event,
        .state = options->has_state ? options->state : 0,
        .new_state = options->new_state,
    };
    g_ptr_array_add(rules->states, rule);
}

static bool applies(const BlkdebugRules *rules, int64_t state)
{
    return state == 0 || state == rules->state;
}

static void activate(BlkdebugRules *rules, BlkdebugEvent event)
{
    bool first = true;

    for (guint i = 0; i < rules->errors->len; i++) {
        ErrorRule *rule = rules->errors->pdata[i];
        if (rule->event != event || !applies(rules, rule->state)) {
            continue;
        }
        if (first) {
            g_ptr_array_set_size(rules->active, 0);
            first = false;
        }
        g_ptr_array_add(rules->active, rule);
    }
}

/* Of several rules that apply the first one counts. */
static void change_state(BlkdebugRules *rules, BlkdebugEvent event)
{
    for (guint i = 0; i < rules->states->len; i++) {
        const StateRule *rule = rules->states->pdata[i];
        if (rule->event == event && applies(rules, rule->state)) {
            rules->state = rule->new_state;
            return;
        }
    }
}

void blkdebug_rules_event(BlkdebugRules *rules, BlkdebugEvent event)
{
    activate(rules, event); /* by the state before this event */
    change_state(rules, event);
}

static bool fits(const ErrorRule *rule, BlkdebugIOType type, int64_t offset, int64_t bytes)
{
    bool in_range = rule->offset == -1 || (rule->offset >= offset && rule->offset - offset < bytes);

    return in_range && (rule->types & 1U << type);
}

static ErrorRule *find_active(const BlkdebugRules *rules, BlkdebugIOType type, int64_t offset,
                              int64_t bytes)
{
    for (guint i = 0; i < rules->active->len; i++) {
        if (fits(rules->active->pdata[i], type, offset, bytes)) {
            return rules->active->pdata[i];
        }
    }
    return NULL;
}

int blkdebug_rules_check(BlkdebugRules *rules, BlkdebugIOType type, int64_t offset, int64_t bytes,
                         bool *immediately)
{
    ErrorRule *rule = find_active(rules, type, offset, bytes);

    if (!rule || rule->error == 0) {
        return 0;
    }
    int error = rule->error;
    *immediately = rule->immediately;
    if (rule->once) {
        g_ptr_array_remove(rules->active, rule);
        g_ptr_array_remove(rules->errors, rule);
    }
    return error;
}
