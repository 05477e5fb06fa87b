/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which options of a node may change when it is reopened; for reopen.c only. */
#ifndef BLOCK_REOPEN_OPTIONS_H
#define BLOCK_REOPEN_OPTIONS_H

#include "block/node.h"

/*
 * An option of the old set that is missing in @given must be one that has a default to go back to.
 */
bool block_reopen_check_reset(const BlockNode *node, const BlockdevOptions *given, GError **errp);

/*
 * What neither the node nor its driver can change must be as it was.  Call it when the edges are as
 * @given wants them.
 */
bool block_reopen_check_unchanged(const BlockNode *node, const BlockdevOptions *given,
                                  GError **errp);

/* @later's options, and those of @earlier that it does not have; NULL with an error. */
BlockdevOptions *block_reopen_merge(const BlockdevOptions *earlier, const BlockdevOptions *later,
                                    GError **errp);

/* What an option says of a child. */
typedef enum BlockChildOption {
    BLOCK_CHILD_OPTION_ABSENT,
    BLOCK_CHILD_OPTION_NULL,
    BLOCK_CHILD_OPTION_NAME,       /* the node of that name */
    BLOCK_CHILD_OPTION_DEFINITION, /* options */
} BlockChildOption;

/* @ref: the node's name (g_malloced) for NAME; @options for DEFINITION; both may be NULL. */
BlockChildOption block_reopen_child_option(const BlockdevOptions *given, const char *child,
                                           char **ref, BlockdevOptions **options);

#endif
