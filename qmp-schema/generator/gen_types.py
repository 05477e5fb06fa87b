# SPDX-License-Identifier: LGPL-2.1-or-later
"""qmp-types.h and qmp-enums.c: the C types, and the names of enum values."""

import model
from ctypes_of import declared, kind_prefix
from names import c_name, enum_constant
from writer import Output


def enum_lines(enum):
    constants = [enum_constant(enum.name, value) for value, _ in enum.values]
    return [f'typedef enum {enum.name} {{', *[f'    {c},' for c in constants],
            f'    {enum_constant(enum.name, "_MAX")},', f'}} {enum.name};', '',
            f'extern const SchemaEnum {enum.name}_lookup;',
            f'const char *{enum.name}_name({enum.name} value);',
            f'bool {enum.name}_parse_name(const char *name, {enum.name} *value, GError **errp);', '']


def member_lines(members):
    lines = []
    for member in members:
        if member.has_flag:
            lines.append(f'    bool {member.has};')
        lines.append(f'    {declared(member.type)}{member.c};')
    return lines


def struct_lines(struct):
    lines = [f'struct {struct.name} {{', *member_lines(struct.members)]
    if isinstance(struct, model.Union) and any(b.members for b in struct.branches.values()):
        lines += ['    union {']
        lines += [f'        {branch.name} {c_name(value)};'
                  for value, branch in struct.branches.items() if branch.members]
        lines += ['    } u;']
    if not struct.members:
        lines += ['    char empty; /* C has no empty struct */']
    return lines + ['};', '']


def alternate_lines(alternate):
    prefix = kind_prefix(alternate)
    lines = [f'typedef enum {alternate.name}Kind {{']
    lines += [f'    {prefix}{c_name(name).upper()},' for name in alternate.branches]
    lines += [f'}} {alternate.name}Kind;', '',
              f'struct {alternate.name} {{', f'    {alternate.name}Kind kind;', '    union {']
    lines += [f'        {declared(of)}{c_name(name)};'
              for name, of in alternate.branches.items() if of.name != 'null']
    return lines + ['    } u;', '};', '']


def prototype_lines(name):
    return [f'void {name}_free({name} *value);',
            f'{name} *{name}_copy(const {name} *value);',
            f'{name} *{name}_parse(const json_t *value, const SchemaInput *in, GError **errp);',
            f'json_t *{name}_to_json(const {name} *value);',
            f'G_DEFINE_AUTOPTR_CLEANUP_FUNC({name}, {name}_free)', '']


def in_dependency_order(types):
    """A struct that is held by value (the branch of a union) before what holds it."""
    done = []

    def visit(one):
        if one in done:
            return
        if isinstance(one, model.Union):
            for branch in one.branches.values():
                visit(branch)
        done.append(one)

    for one in types:
        visit(one)
    return done


def generate(schema, folder):
    out = Output('qmp-types.h', 'The types of the QMP schema. Rules of naming: qmp-schema/schema-input.h.',
                 guard=True)
    out.add('#include <glib.h>', '#include <jansson.h>', '#include "qmp-schema/schema-input.h"', '')
    enums = [t for t in schema.declared if isinstance(t, model.Enum)]
    others = [t for t in schema.declared if not isinstance(t, model.Enum)]
    for enum in enums:
        out.add(*enum_lines(enum))
    out.add(*[f'typedef struct {t.name} {t.name};' for t in others], '')
    for one in in_dependency_order(others):
        lines = alternate_lines if isinstance(one, model.Alternate) else struct_lines
        out.add(*lines(one))
    for one in others:
        out.add(*prototype_lines(one.name))
    out.write(folder)
    generate_enums(enums, folder)


def generate_enums(enums, folder):
    out = Output('qmp-enums.c', 'The names of the values of each enum.')
    out.add('#include "qmp-schema/qmp-types.h"', '')
    for enum in enums:
        out.add(f'static const char *const {enum.name}_names[] = {{')
        out.add(*[f'    [{enum_constant(enum.name, value)}] = "{value}",' for value, _ in enum.values])
        out.add('};', '')
        out.add(f'const SchemaEnum {enum.name}_lookup = {{',
                f'    .names = {enum.name}_names,',
                f'    .count = {enum_constant(enum.name, "_MAX")},', '};', '')
        out.block(f'const char *{enum.name}_name({enum.name} value)',
                  [f'return schema_enum_name(&{enum.name}_lookup, value);'])
        out.block(f'bool {enum.name}_parse_name(const char *name, {enum.name} *value, GError **errp)',
                  [f'int found = schema_enum_parse(&{enum.name}_lookup, name, errp);', '',
                   'if (found < 0) {', '    return false;', '}',
                   '*value = found;', 'return true;'])
    out.write(folder)
