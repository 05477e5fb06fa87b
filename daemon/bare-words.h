/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The older form of key=value options, in which switches stand alone. */
#ifndef DAEMON_BARE_WORDS_H
#define DAEMON_BARE_WORDS_H

/*
 * "socket,server,nowait,id=a" → "socket,server=on,wait=off,id=a", for --chardev and --monitor.  The
 * first word is @implied_key's value where it stands alone.  Freed by the caller.
 */
char *bare_words_to_keyval(const char *text, const char *implied_key);

#endif
