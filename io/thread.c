/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting threads; see thread.h. */
#include "io/thread.h"

#include <glib.h>
#include <signal.h>

int thread_start(pthread_t *thread, const char *name, void *(*fn)(void *), void *opaque)
{
    char short_name[16];
    sigset_t all, old;
    pthread_t id;
    int ret;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ret = pthread_create(&id, NULL, fn, opaque);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (ret) {
        return -ret;
    }
    g_strlcpy(short_name, name, sizeof(short_name));
    pthread_setname_np(id, short_name);
    if (thread) {
        *thread = id;
    } else {
        pthread_detach(id);
    }
    return 0;
}
