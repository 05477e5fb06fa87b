/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long a session's reader leaves its client alone.
 *
 * A client that has replies to read is busy, and brings its next requests when it has read them.
 * Were the server waiting by then, the client would have to wake it for each one, which costs both
 * more than the request.  So the server looks away for a moment, a lull, and then takes all that
 * came at once.  The lull is too long when the client has read everything by its end and waits in
 * turn; it grows until then, and is halved.  A client with few requests under way soon waits
 * whatever the lull is: it gets none for a while.
 */
#ifndef NBD_EXPORT_LULL_H
#define NBD_EXPORT_LULL_H

#include <stdbool.h>
#include <stdint.h>

/* Zero-initialise. */
typedef struct NbdLull {
    int64_t ns;      /* of the last one, and about the next one's */
    bool taken;      /* before the requests that were just taken */
    unsigned batch;  /* requests taken since the last call; the reader counts */
    unsigned barred; /* so many receives go without one */
} NbdLull;

/*
 * To be called before a receive, when the requests that were taken are done.  @behind: has the
 * client replies to read of before them?  Returns how long to look away, nanoseconds, or 0.
 */
int64_t nbd_lull_next(NbdLull *lull, bool behind);

/* Instead, where others have work for the server, so that nothing can be told. */
void nbd_lull_skip(NbdLull *lull);

#endif
