# SPDX-License-Identifier: LGPL-2.1-or-later
"""qmp-build.c: from the types to JSON."""

import model
from ctypes_of import built
from gen_lifetime import alternate_cases, branch_cases, switch
from gen_types import in_dependency_order
from writer import Output


def put(member):
    statement = f'json_object_set_new(object, "{member.name}", {built(member.type, "in->" + member.c)});'
    if not member.optional:
        return [statement]
    present = f'in->{member.has}' if member.has_flag else f'in->{member.c}'
    return [f'if ({present}) {{', '    ' + statement, '}']


def build_struct(out, struct):
    name = struct.name
    body = [line for member in struct.members for line in put(member)]
    if isinstance(struct, model.Union):
        body += switch(f'in->{struct.tag.c}',
                       branch_cases(struct, lambda b, c: f'put_{b.name}(object, &in->u.{c});'))
    out.block(f'static void put_{name}(json_t *object, const {name} *in)', body)
    out.block(f'json_t *{name}_to_json(const {name} *value)',
              ['json_t *object = json_object();', '', f'put_{name}(object, value);', 'return object;'])


def build_alternate(out, one):
    cases = alternate_cases(one, lambda of, c: f'return {built(of, "value->u." + c)};'
                            if of.name != 'null' else 'return json_null();')
    lines = [line for line in switch('value->kind', cases) if line != '    break;']
    out.block(f'json_t *{one.name}_to_json(const {one.name} *value)',
              [*lines[:-2], '}', 'g_assert_not_reached();'])


def generate(schema, folder):
    out = Output('qmp-build.c', 'Makes JSON of values of the schema.')
    out.add('#include "qmp-schema/qmp-types.h"', '#include "qmp-schema/schema-build.h"', '')
    types = [t for t in in_dependency_order(schema.declared) if not isinstance(t, model.Enum)]
    for held in schema.held_lists():
        name = held.element.name
        json = 'schema_json_string' if name == 'str' else f'{name}_to_json'
        out.block(f'static json_t *build_{"string" if name == "str" else name}(const void *value)',
                  [f'return {json}(value);'])
    for one in types:
        (build_alternate if isinstance(one, model.Alternate) else build_struct)(out, one)
    out.write(folder)
