# SPDX-License-Identifier: LGPL-2.1-or-later
"""qmp-lifetime.c: T_free() and T_copy()."""

import model
from ctypes_of import copy_statement, free_statement, kind_prefix
from names import c_name, enum_constant
from writer import Output

COPY_LIST = '''static void *copy_string(const void *string)
{
    return g_strdup(string);
}

static GPtrArray *copy_list(const GPtrArray *from, void *(*copy)(const void *), GDestroyNotify free)
{
    if (!from) {
        return NULL;
    }
    GPtrArray *to = g_ptr_array_new_full(from->len, free);
    for (guint i = 0; i < from->len; i++) {
        g_ptr_array_add(to, copy(from->pdata[i]));
    }
    return to;
}
'''


def switch(on, cases):
    """A switch over (constant, statement) pairs, or nothing when there are none."""
    if not cases:
        return []
    lines = [f'switch ({on}) {{']
    for constant, statement in cases:
        lines += [f'case {constant}:', f'    {statement}', '    break;']
    return lines + ['default:', '    break;', '}']


def branch_cases(union, call):
    """Cases over the branches of a union that have members; call(branch, its C name)."""
    tag = union.tag.type.name
    return [(enum_constant(tag, value), call(branch, c_name(value)))
            for value, branch in union.branches.items() if branch.members]


def alternate_cases(alternate, statement):
    cases = [(kind_prefix(alternate) + c_name(name).upper(), statement(of, c_name(name)))
             for name, of in alternate.branches.items()]
    return [case for case in cases if case[1]]


def clear_body(struct):
    lines = [free_statement(m.type, f'value->{m.c}') for m in struct.members]
    lines = [line for line in lines if line]
    if isinstance(struct, model.Union):
        lines += switch(f'value->{struct.tag.c}',
                        branch_cases(struct, lambda b, c: f'clear_{b.name}(&value->u.{c});'))
    return lines


def adopt_body(struct):
    lines = [copy_statement(m.type, f'to->{m.c}', f'from->{m.c}') for m in struct.members]
    lines = [line for line in lines if line]
    if isinstance(struct, model.Union):
        lines += switch(f'from->{struct.tag.c}',
                        branch_cases(struct, lambda b, c: f'deepen_{b.name}(&to->u.{c}, &from->u.{c});'))
    return lines


def bodies(one):
    if isinstance(one, model.Alternate):
        return (switch('value->kind', alternate_cases(
                    one, lambda of, c: free_statement(of, f'value->u.{c}'))),
                switch('from->kind', alternate_cases(
                    one, lambda of, c: copy_statement(of, f'to->u.{c}', f'from->u.{c}'))))
    return clear_body(one), adopt_body(one)


def generate_one(out, name, clear, deepen):
    out.block(f'static void clear_{name}({name} *value)', clear)
    out.block(f'void {name}_free({name} *value)',
              ['if (value) {', f'    clear_{name}(value);', '    g_free(value);', '}'])
    out.block(f'static void deepen_{name}({name} *to, const {name} *from)', deepen)
    out.block(f'{name} *{name}_copy(const {name} *value)',
              ['if (!value) {', '    return NULL;', '}',
               f'{name} *copy = g_memdup2(value, sizeof(*value));', '',
               f'deepen_{name}(copy, value);', 'return copy;'])


def generate(schema, folder):
    from gen_types import in_dependency_order
    out = Output('qmp-lifetime.c', 'How values of the schema are freed and copied.')
    out.add('#include "qmp-schema/qmp-types.h"', '', *COPY_LIST.split('\n'))
    types = [t for t in in_dependency_order(schema.declared) if not isinstance(t, model.Enum)]
    for held in schema.held_lists():
        name = held.element.name
        if name != 'str':
            out.block(f'static void *copy_{name}(const void *value)', [f'return {name}_copy(value);'])
    for one in types:
        generate_one(out, one.name, *bodies(one))
    out.write(folder)
