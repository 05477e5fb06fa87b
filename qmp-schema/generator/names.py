# SPDX-License-Identifier: LGPL-2.1-or-later
"""How names of the schema become names of C.

A name that C or its headers already use gets the prefix q_ (the field `errno` becomes `q_errno`, the
branch `unix` becomes `q_unix`, for gcc's gnu11 predefines `unix` as a macro)."""

import re

RESERVED = frozenset('''
    auto break case char const continue default do double else enum extern float for goto if inline
    int long register restrict return short signed sizeof static struct switch typedef union unsigned
    void volatile while asm typeof bool true false errno linux unix i386 mips sparc stdin stdout stderr
    '''.split())


def c_name(name):
    """A member, branch or command: 'null-co' -> null_co."""
    plain = re.sub(r'[^A-Za-z0-9_]', '_', name)
    return 'q_' + plain if plain in RESERVED else plain


def upper_snake(name):
    """A type: 'QMPCapability' -> QMP_CAPABILITY, 'BlockdevOnError' -> BLOCKDEV_ON_ERROR."""
    name = re.sub(r'([a-z0-9])([A-Z])', r'\1_\2', name)
    name = re.sub(r'([A-Z]+)([A-Z][a-z])', r'\1_\2', name)
    return re.sub(r'[^A-Za-z0-9]', '_', name).upper()


def enum_constant(type_name, value):
    return upper_snake(type_name) + '_' + re.sub(r'[^A-Za-z0-9_]', '_', value).upper()


def camel(name):
    """A command or event: 'block-export-del', 'JOB_STATUS_CHANGE' -> BlockExportDel, JobStatusChange."""
    return ''.join(part[:1].upper() + (part[1:].lower() if name.isupper() else part[1:])
                   for part in re.split(r'[-_]', name))
