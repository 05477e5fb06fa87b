/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hooks in the gate; see hook.h. */
#include "block/hook.h"

void block_hook_add(BlockNode *node, BlockHook *hook)
{
    g_ptr_array_add(node->hooks, hook);
}

void block_hook_remove(BlockNode *node, BlockHook *hook)
{
    g_ptr_array_remove(node->hooks, hook);
}
