# SPDX-License-Identifier: LGPL-2.1-or-later
"""The checked schema: types, commands and events with every reference resolved."""

from names import c_name, camel
from parser import SchemaError


class Type:
    """A named type. `pointer`: a C member of the type is a pointer, NULL when absent."""
    pointer = True
    doc = ()

    def __init__(self, name):
        self.name = name


class Builtin(Type):
    """A type without a definition; `json` is its meta-type name in introspection."""

    def __init__(self, name, c_type, json):
        super().__init__(name)
        self.c_type = c_type
        self.json = json
        self.pointer = c_type.endswith('*')


class Enum(Type):
    pointer = False

    def __init__(self, name, values, doc):
        super().__init__(name)
        self.values = values        # [(name, features)]
        self.doc = doc


class Struct(Type):
    def __init__(self, name, doc, features=()):
        super().__init__(name)
        self.doc = doc
        self.features = features
        self.base = None            # the Struct whose members come first, if it has a name
        self.members = []           # base members first


class Union(Struct):
    """A flat union: its members are those of the base."""

    def __init__(self, name, doc, features=()):
        super().__init__(name, doc, features)
        self.tag = None             # Member
        self.branches = {}          # value of the discriminator -> Struct


class Alternate(Type):
    def __init__(self, name, doc):
        super().__init__(name)
        self.doc = doc
        self.branches = {}          # name -> Type


class List(Type):
    def __init__(self, element):
        super().__init__('[' + element.name + ']')
        self.element = element


class Member:
    def __init__(self, name, of, optional, features):
        self.name = name
        self.c = c_name(name)
        self.has = 'has_' + c_name(name).removeprefix('q_')
        self.type = of
        self.optional = optional
        self.features = features

    @property
    def has_flag(self):
        return self.optional and not self.type.pointer


class Command:
    def __init__(self, name, doc):
        self.name = name
        self.c = 'qmp_' + c_name(name)
        self.doc = doc
        self.args = None            # Struct or None
        self.returns = None         # Type or None
        self.raw_return = False     # the handler returns a json_t whatever the type ('gen': false)
        self.before_negotiation = False
        self.features = ()


class Event:
    def __init__(self, name, doc):
        self.name = name
        self.c = 'qmp_event_' + c_name(name.lower())
        self.doc = doc
        self.data = None            # Struct or None


BUILTINS = [Builtin('str', 'char *', 'string'), Builtin('bool', 'bool', 'boolean'),
            Builtin('number', 'double', 'number'), Builtin('size', 'uint64_t', 'int'),
            Builtin('any', 'json_t *', 'value'), Builtin('null', '', 'null'),
            Builtin('int', 'int64_t', 'int')]
BUILTINS += [Builtin(name, name + '_t', 'int') for name in ('int32', 'int64', 'uint16', 'uint32', 'uint64')]

KEYS = {
    'enum': {'enum', 'data', 'features', 'prefix', 'if'},
    'struct': {'struct', 'data', 'base', 'features', 'if'},
    'union': {'union', 'base', 'discriminator', 'data', 'features', 'if'},
    'alternate': {'alternate', 'data', 'features', 'if'},
    'command': {'command', 'data', 'returns', 'boxed', 'gen', 'features', 'if', 'allow-oob',
                'coroutine', 'allow-preconfig', 'before-negotiation'},
    'event': {'event', 'data', 'boxed', 'features', 'if'},
}


def feature_names(items):
    return [item if isinstance(item, str) else item['name'] for item in items or []]


class Schema:
    """Everything the generators need."""

    def __init__(self, definitions):
        self.types = {t.name: t for t in BUILTINS}
        self.lists = {}
        self.commands = []
        self.events = []
        self.declared = []          # the defined types, in the order of the files
        pending = [(self.declare(d), d) for d in definitions]
        for thing, definition in pending:
            self.where = definition.where
            self.resolve(thing, definition.body)

    def fail(self, message):
        raise SchemaError(f'{self.where}: {message}')

    def held_lists(self):
        """The lists of pointers that some member has, each once."""
        members = [m for t in self.declared if isinstance(t, Struct) for m in t.members]
        lists = {m.type.name: m.type for m in members if isinstance(m.type, List)}
        return [one for one in lists.values() if one.element.pointer]

    def add_type(self, new):
        if new.name in self.types:
            self.fail(f'type {new.name!r} is defined twice')
        self.types[new.name] = new
        self.declared.append(new)
        return new

    def declare(self, definition):
        """First pass: makes the named thing, without its members."""
        self.where = definition.where
        body, doc = definition.body, definition.doc
        kind = next(iter(body))
        if kind not in KEYS:
            self.fail(f'unknown kind of definition {kind!r}')
        for key in set(body) - KEYS[kind]:
            self.fail(f'unknown key {key!r} in {kind} {body[kind]!r}')
        if not doc:
            self.fail(f'{kind} {body[kind]!r} has no documentation')
        name = body[kind]
        if kind == 'command':
            self.commands.append(Command(name, doc))
            return self.commands[-1]
        if kind == 'event':
            self.events.append(Event(name, doc))
            return self.events[-1]
        features = feature_names(body.get('features'))
        if kind == 'enum':
            values = [(v, ()) if isinstance(v, str) else (v['name'], feature_names(v.get('features')))
                      for v in body['data']]
            return self.add_type(Enum(name, values, doc))
        if kind == 'alternate':
            return self.add_type(Alternate(name, doc))
        return self.add_type((Union if kind == 'union' else Struct)(name, doc, features))

    def lookup(self, ref):
        if isinstance(ref, list):
            element = self.lookup(ref[0])
            return self.lists.setdefault(element.name, List(element))
        if ref not in self.types:
            self.fail(f'unknown type {ref!r}')
        return self.types[ref]

    def members(self, data):
        result = []
        for key, ref in data.items():
            features = ()
            if isinstance(ref, dict):
                features = feature_names(ref.get('features'))
                ref = ref['type']
            result.append(Member(key.lstrip('*'), self.lookup(ref), key.startswith('*'), features))
        return result

    def resolve(self, thing, body):
        """Second pass: fills in what refers to other types."""
        if isinstance(thing, Struct) and isinstance(body.get('base'), str):
            thing.base = self.lookup(body['base'])
        if isinstance(thing, Union):
            self.resolve_union(thing, body)
        elif isinstance(thing, Struct):
            thing.members = self.inherited(body.get('base')) + self.members(body['data'])
        elif isinstance(thing, Alternate):
            thing.branches = {name: self.lookup(ref) for name, ref in body['data'].items()}
        elif isinstance(thing, Command):
            self.resolve_command(thing, body)
        elif isinstance(thing, Event):
            thing.data = self.arguments(body.get('data'), camel(thing.name) + 'Event', thing.doc)

    def inherited(self, base):
        if isinstance(base, dict):
            return self.members(base)
        if base is None:
            return []
        parent = self.lookup(base)
        if not parent.members:
            self.fail(f'base {base!r} must be defined, with members, before its use')
        return list(parent.members)

    def resolve_union(self, union, body):
        union.members = self.inherited(body['base'])
        tag = [m for m in union.members if m.name == body['discriminator']]
        if not tag or tag[0].optional or not isinstance(tag[0].type, Enum):
            self.fail(f'the discriminator of {union.name!r} must be a mandatory enum of its base')
        union.tag = tag[0]
        values = [value for value, _ in union.tag.type.values]
        for value, ref in body['data'].items():
            if value not in values:
                self.fail(f'{value!r} is not a value of {union.tag.type.name}')
            union.branches[value] = self.lookup(ref)

    def arguments(self, data, name, doc):
        """The type of a command's or event's data; an anonymous one gets a name."""
        if not data:
            return None
        if isinstance(data, str):
            return self.lookup(data)
        struct = self.add_type(Struct(name, doc))
        struct.members = self.members(data)
        return struct

    def resolve_command(self, command, body):
        command.args = self.arguments(body.get('data'), camel(command.name) + 'Args', command.doc)
        command.returns = self.lookup(body['returns']) if 'returns' in body else None
        command.raw_return = body.get('gen') is False
        command.before_negotiation = body.get('before-negotiation', False)
        command.features = feature_names(body.get('features'))
