/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers as they were written: jansson's integers have 63 bits, those that QMP clients use as
 * ids 64. */
#ifndef MONITOR_MEMBER_TEXT_H
#define MONITOR_MEMBER_TEXT_H

/*
 * The digits of the number that is member @key of the JSON object @text (which has been parsed
 * well); NULL where it is not found, as when the key is written with escapes.  Freed by the caller.
 */
char *member_number_text(const char *text, const char *key);

#endif
