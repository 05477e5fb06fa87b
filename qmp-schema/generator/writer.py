# SPDX-License-Identifier: LGPL-2.1-or-later
"""A generated file: collects lines, and is written only as a whole."""

import os


WIDTH = 100


def continuation_indent(text):
    """The column behind the last bracket that @text leaves open, or one level more than @text has."""
    opened = []
    for column, char in enumerate(text):
        if char == '(':
            opened.append(column + 1)
        elif char == ')':
            opened.pop()
    return opened[-1] if opened else len(text) - len(text.lstrip()) + 4


def fold(line):
    """Breaks a line of C that is too long behind a comma; lines that are one string stay whole."""
    if len(line) <= WIDTH or line.lstrip().startswith(('"', '*')):
        return [line]
    cut = line.rfind(', ', 0, WIDTH) + 1
    if not cut:
        return [line]
    indent = continuation_indent(line[:cut])
    return [line[:cut], *fold(' ' * indent + line[cut + 1:])]


class Output:
    def __init__(self, name, purpose, guard=False):
        self.name = name
        self.guard = name.upper().replace('-', '_').replace('.', '_') if guard else None
        self.lines = ['/* SPDX-License-Identifier: LGPL-2.1-or-later */',
                      '/*', f' * {purpose}', ' *',
                      ' * Generated from the schema files by qmp-schema/generator/: do not edit.', ' */']
        if self.guard:
            self.add(f'#ifndef {self.guard}', f'#define {self.guard}', '')

    def add(self, *lines):
        for line in lines:
            self.lines += fold(line)

    def block(self, head, body):
        """A function: its head, its body's lines (not indented), and an empty line after it."""
        self.add(*head.split('\n'), '{', *['    ' + line if line else '' for line in body], '}', '')

    def write(self, folder):
        if self.guard:
            self.add('#endif')
        while self.lines[-1] == '':
            self.lines.pop()
        with open(os.path.join(folder, self.name), 'w', encoding='utf-8') as f:
            f.write('\n'.join(self.lines) + '\n')
