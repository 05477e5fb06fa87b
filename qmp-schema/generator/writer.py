# SPDX-License-Identifier: LGPL-2.1-or-later
"""A generated file: collects lines, and is written only as a whole."""

import os


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
        self.lines += lines

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
