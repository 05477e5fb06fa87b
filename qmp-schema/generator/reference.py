# SPDX-License-Identifier: LGPL-2.1-or-later
"""qmp-reference.rst: the reference page, from the documentation comments of the schema."""

import os
import re

import model
from parser import SchemaError


def literal(text):
    """@member, as the schema's comments have it, becomes ``member``."""
    return re.sub(r'@([\w-]+)', r'``\1``', text).strip()


def split_doc(doc):
    """A doc block: its text (without the `@name:` line that opens it), and a dict member -> text."""
    text, members, target = [], {}, None
    lines = doc[1:] if doc and re.fullmatch(r'@[\w-]+:', doc[0].strip()) else doc
    for line in lines:
        match = re.match(r'@([\w.-]+): *(.*)', line)
        if match:
            target = members.setdefault(match.group(1), [])
            line = match.group(2)
        elif line and not line[0].isspace() and target is not None and not target[-1].strip():
            target = None
        (text if target is None else target).append(line.strip() if target is not None else line)
    return literal('\n'.join(text)), {k: literal(' '.join(v)) for k, v in members.items()}


def member_texts(struct):
    """What the documentation says of each member, those of the base included."""
    inherited = member_texts(struct.base) if struct.base else {}
    return {**inherited, **split_doc(struct.doc)[1]}


def type_text(of):
    if isinstance(of, model.List):
        return 'list of ' + type_text(of.element)
    return f'``{of.name}``' if isinstance(of, model.Builtin) else f'`{of.name}`_'


class Page:
    def __init__(self):
        self.lines = []

    def title(self, text, line='-'):
        self.lines += [text, line * len(text), '']

    def text(self, text):
        if text:
            self.lines += [text, '']

    def members(self, struct, texts):
        for m in struct.members:
            if m.name not in texts:
                raise SchemaError(f'member {m.name!r} of {struct.name!r} has no documentation')
            optional = ', optional' if m.optional else ''
            self.lines += [f'``{m.name}`` ({type_text(m.type)}{optional})', f'    {texts[m.name]}', '']

    def struct(self, one):
        self.text(split_doc(one.doc)[0])
        self.members(one, member_texts(one))
        if isinstance(one, model.Union):
            for value, branch in one.branches.items():
                self.lines += [f'When ``{one.tag.name}`` is ``{value}``: the members of `{branch.name}`_', '']

    def enum(self, one):
        text, texts = split_doc(one.doc)
        self.text(text)
        for value, _ in one.values:
            if value in texts:
                self.lines += [f'``{value}``', f'    {texts[value]}', '']
        others = [f'``{value}``' for value, _ in one.values if value not in texts]
        self.text('Values: ' * (len(others) > 0) + ', '.join(others))

    def alternate(self, one):
        text, texts = split_doc(one.doc)
        self.text(text)
        for name, of in one.branches.items():
            self.lines += [f'{type_text(of)}', f'    {texts.get(name, "")}', '']

    def command(self, command):
        self.title(command.name)
        text, texts = split_doc(command.doc)
        self.text(text)
        if command.args:
            if command.args.name in self.anonymous:
                self.members(command.args, texts)
            else:
                self.text(f'Arguments: the members of `{command.args.name}`_')
        if command.returns:
            self.text(f'Returns: {type_text(command.returns)}')

    def event(self, event):
        self.title(event.name)
        text, texts = split_doc(event.doc)
        self.text(text)
        if event.data:
            self.members(event.data, texts)


def anonymous_types(schema):
    named = [c.args for c in schema.commands if c.args] + [e.data for e in schema.events if e.data]
    return {t.name for t in named if t.name.endswith(('Args', 'Event'))}


def generate(schema, folder):
    page = Page()
    page.anonymous = anonymous_types(schema)
    page.title('QMP reference', '=')
    page.text('The commands, events and types of tidemarkd, made from the schema in qmp-schema/.')
    page.title('Commands', '~')
    for command in schema.commands:
        page.command(command)
    page.title('Events', '~')
    for event in schema.events:
        page.event(event)
    page.title('Types', '~')
    for one in sorted(schema.declared, key=lambda t: t.name):
        if one.name in page.anonymous:
            continue
        page.title(one.name)
        kinds = {model.Enum: page.enum, model.Alternate: page.alternate}
        kinds.get(type(one), page.struct)(one)
    with open(os.path.join(folder, 'qmp-reference.rst'), 'w', encoding='utf-8') as f:
        f.write('\n'.join(page.lines).rstrip() + '\n')
