/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules of a blkdebug node: which requests fail, and when.
 *
 * A node is in a state, a number that starts at 1.  An event that image drivers raise looks at the
 * rules for it whose state is the node's (0: any).  Those that set a state do; those that inject
 * errors become the active ones, in place of the ones before (if there is any such rule).  A
 * request fails with the first active rule that fits its type and range.  The event "none" is
 * raised once, when the node is opened.
 */
#ifndef BLOCK_DRIVERS_BLKDEBUG_RULES_H
#define BLOCK_DRIVERS_BLKDEBUG_RULES_H

#include "qmp-schema/qmp-types.h"

typedef struct BlkdebugRules {
    GPtrArray *errors; /* of inject-error rules, owned, in order */
    GPtrArray *states; /* of set-state rules, owned, in order */
    GPtrArray *active; /* of those in errors, not owned */
    int64_t state;
} BlkdebugRules;

void blkdebug_rules_init(BlkdebugRules *rules);
void blkdebug_rules_clear(BlkdebugRules *rules); /* all zero is accepted */

void blkdebug_rules_add_error(BlkdebugRules *rules, const BlkdebugInjectErrorOptions *options);
void blkdebug_rules_add_state(BlkdebugRules *rules, const BlkdebugSetStateOptions *options);

/* Adds the rules of the config file @path; "[inject-error]" and "[set-state]" sections.  May yield.
 */
bool co_blkdebug_rules_load(BlkdebugRules *rules, const char *path, GError **errp);

void blkdebug_rules_event(BlkdebugRules *rules, BlkdebugEvent event);

/*
 * The error (-errno) that a request gets, or 0.  *immediately: without a yield.  A request without
 * a range (flush) has 0 @bytes and fits rules for any sector only.
 */
int blkdebug_rules_check(BlkdebugRules *rules, BlkdebugIOType type, int64_t offset, int64_t bytes,
                         bool *immediately);

#endif
