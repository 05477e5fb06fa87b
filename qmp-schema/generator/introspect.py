# SPDX-License-Identifier: LGPL-2.1-or-later
"""qmp-introspect.c: the reply of query-qmp-schema.

As in QEMU, names of types are masked by numbers, for they are no part of the interface; builtins keep
their names, all integer types are `int`, and only what a command or an event can reach is listed."""

import json

import model
from writer import Output


class Introspection:
    def __init__(self, schema):
        self.entries = []
        self.keys = {}              # id(type) -> its masked name
        self.empty = model.Struct('q_empty', [])
        self.queue = []
        self.shown = set()
        for command in schema.commands:
            self.command(command)
        for event in schema.events:
            self.entry(event.name, 'event', {'arg-type': self.key(event.data or self.empty)})
        while self.queue:
            self.type(self.queue.pop(0))

    def entry(self, name, meta, rest, features=()):
        entry = {'name': name, 'meta-type': meta, **rest}
        if features:
            entry['features'] = list(features)
        self.entries.append(entry)

    def command(self, command):
        self.entry(command.name, 'command',
                   {'arg-type': self.key(command.args or self.empty),
                    'ret-type': self.key(command.returns or self.empty)}, command.features)

    def key(self, of):
        """The name of a type in the reply; queues the type to be shown."""
        if isinstance(of, model.Builtin):
            name = 'int' if of.json == 'int' else of.name
        elif isinstance(of, model.List):
            name = '[' + self.key(of.element) + ']'
        else:
            name = self.keys.setdefault(id(of), str(len(self.keys)))
        if name not in self.shown:
            self.shown.add(name)
            self.queue.append((name, of))
        return name

    def member(self, member):
        entry = {'name': member.name, 'type': self.key(member.type)}
        if member.optional:
            entry['default'] = None
        if member.features:
            entry['features'] = list(member.features)
        return entry

    def type(self, item):
        name, of = item
        if isinstance(of, model.Builtin):
            self.entry(name, 'builtin', {'json-type': of.json})
        elif isinstance(of, model.List):
            self.entry(name, 'array', {'element-type': self.key(of.element)})
        elif isinstance(of, model.Enum):
            self.enum(name, of)
        elif isinstance(of, model.Alternate):
            self.entry(name, 'alternate',
                       {'members': [{'type': self.key(t)} for t in of.branches.values()]})
        else:
            self.object(name, of)

    def enum(self, name, of):
        members = [{'name': value, **({'features': list(features)} if features else {})}
                   for value, features in of.values]
        self.entry(name, 'enum', {'members': members, 'values': [value for value, _ in of.values]})

    def object(self, name, of):
        rest = {'members': [self.member(m) for m in of.members]}
        if isinstance(of, model.Union):
            rest['tag'] = of.tag.name
            rest['variants'] = [{'case': value, 'type': self.key(of.branches.get(value, self.empty))}
                                for value, _ in of.tag.type.values]
        self.entry(name, 'object', rest, of.features)


def c_string(text):
    return '"' + text.replace('\\', '\\\\').replace('"', '\\"') + '"'


def generate(schema, folder):
    out = Output('qmp-introspect.c', 'The reply of query-qmp-schema, as JSON text.')
    out.add('#include "qmp-schema/dispatch.h"', '', 'static const char qmp_schema_text[] =', '    "["')
    texts = [json.dumps(entry, separators=(',', ':')) for entry in Introspection(schema).entries]
    out.add(*['    ' + c_string(text + ',') for text in texts[:-1]], '    ' + c_string(texts[-1]), '    "]";', '')
    out.block('json_t *qmp_introspection(void)', ['return json_loads(qmp_schema_text, 0, NULL);'])
    out.write(folder)
