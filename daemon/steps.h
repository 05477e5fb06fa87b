/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Options that make something: each does what the QMP command of that name does. */
#ifndef DAEMON_STEPS_H
#define DAEMON_STEPS_H

#include <glib.h>
#include <stdbool.h>

/* Loop 0, in a coroutine; OptionFn. */
bool co_step_blockdev(const char *arg, GError **errp);
bool co_step_chardev(const char *arg, GError **errp);
bool co_step_image_folders(const char *arg, GError **errp);
bool co_step_scratch_dir(const char *arg, GError **errp);
bool co_step_export(const char *arg, GError **errp);
bool co_step_monitor(const char *arg, GError **errp);
bool co_step_nbd_server(const char *arg, GError **errp);
bool co_step_object(const char *arg, GError **errp);

#endif
