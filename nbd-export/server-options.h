/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting the NBD server from what the user gave, by QMP or on the command line. */
#ifndef NBD_EXPORT_SERVER_OPTIONS_H
#define NBD_EXPORT_SERVER_OPTIONS_H

#include "qmp-schema/qmp-types.h"

/* Loop 0; may yield. */
bool co_nbd_server_start_options(const NbdServerOptions *options, GError **errp);

#endif
