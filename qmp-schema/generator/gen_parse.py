# SPDX-License-Identifier: LGPL-2.1-or-later
"""qmp-parse.c: from JSON to the types, with the checks and the error texts of QMP."""

import model
from ctypes_of import kind_prefix, read_condition
from gen_lifetime import branch_cases, switch
from gen_types import in_dependency_order
from names import c_name
from writer import Output

JSON_KIND = {'str': 'JSON_STRING', 'null': 'JSON_NULL'}


def read_head(name):
    return f'static void *read_{name}(const SchemaFrame *at, const char *name, const json_t *v, GError **errp)'


def member_lines(member):
    read = read_condition(member.type, 'f', f'"{member.name}"', f'out->{member.c}')
    if not member.optional:
        return [f'v = schema_take(f, "{member.name}", errp);', f'if (!v || !{read}) {{',
                '    return false;', '}']
    lines = [f'v = schema_take_optional(f, "{member.name}");']
    if member.has_flag:
        lines.append(f'out->{member.has} = v != NULL;')
    return lines + [f'if (v && !{read}) {{', '    return false;', '}']


def branch_switch(union):
    lines = switch(f'out->{union.tag.c}', branch_cases(
        union, lambda b, c: f'return fields_{b.name}(f, &out->u.{c}, errp);'))
    last = len(lines) - 2           # the break of the default case
    return [line for i, line in enumerate(lines) if line != '    break;' or i == last]


def fields_body(struct):
    lines = ['const json_t *v;', ''] if struct.members else []
    for member in struct.members:
        lines += member_lines(member)
    if isinstance(struct, model.Union):
        lines += branch_switch(struct)
    return lines + ['return true;']


def read_struct(out, struct):
    name = struct.name
    out.block(f'static bool fields_{name}(SchemaFrame *f, {name} *out, GError **errp)', fields_body(struct))
    out.block(read_head(name), [
        'g_auto(SchemaFrame) frame = {0};',
        f'g_autoptr({name}) out = g_new0({name}, 1);', '',
        'if (!schema_enter_object(&frame, at, name, v, errp) ||',
        f'    !fields_{name}(&frame, out, errp) || !schema_leave_object(&frame, errp)) {{',
        '    return NULL;', '}', 'return g_steal_pointer(&out);'])


def json_kind(of):
    if of.name in JSON_KIND:
        return JSON_KIND[of.name]
    return 'JSON_STRING' if isinstance(of, model.Enum) else 'JSON_OBJECT'


def read_alternate(out, one):
    body = [f'g_autoptr({one.name}) out = g_new0({one.name}, 1);', '', 'switch (json_typeof(v)) {']
    for name, of in one.branches.items():
        body += [f'case {json_kind(of)}:', f'    out->kind = {kind_prefix(one)}{c_name(name).upper()};']
        if of.name != 'null':
            read = read_condition(of, 'at', 'name', f'out->u.{c_name(name)}')
            body += [f'    if (!{read}) {{', '        return NULL;', '    }']
        body += ['    break;']
    body += ['default:', f'    schema_refuse_alternate(name, "{one.name}", errp);', '    return NULL;', '}',
             'return g_steal_pointer(&out);']
    out.block(read_head(one.name), body)


def read_enum(out, enum):
    name = enum.name
    out.block(f'static G_GNUC_UNUSED bool read_{name}(const SchemaFrame *at, const char *name, '
              f'const json_t *v, {name} *out, GError **errp)',
              [f'int found = schema_read_enum(at, name, v, &{name}_lookup, errp);', '',
               'if (found < 0) {', '    return false;', '}', '*out = found;', 'return true;'])


def generate(schema, folder):
    out = Output('qmp-parse.c', 'Reads values of the schema from JSON.')
    out.add('#include "qmp-schema/qmp-types.h"', '#include "qmp-schema/schema-read.h"', '')
    types = in_dependency_order(schema.declared)
    others = [t for t in types if not isinstance(t, model.Enum)]
    out.add(*[read_head(t.name) + ';' for t in others], '')
    for one in types:
        if isinstance(one, model.Enum):
            read_enum(out, one)
    for one in others:
        (read_alternate if isinstance(one, model.Alternate) else read_struct)(out, one)
    for one in others:
        out.block(f'{one.name} *{one.name}_parse(const json_t *value, const SchemaInput *in, GError **errp)',
                  ['const SchemaFrame root = {.in = in};', '',
                   f'return read_{one.name}(&root, NULL, value, errp);'])
    out.write(folder)
