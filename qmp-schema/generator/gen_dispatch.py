# SPDX-License-Identifier: LGPL-2.1-or-later
"""qmp-commands.h and qmp-dispatch.c: the handlers' prototypes, and the table that calls them."""

import model
from ctypes_of import built, declared, free_statement
from names import c_name
from writer import Output


def prototype(command):
    if command.raw_return:
        result = 'json_t *'
    else:
        result = declared(command.returns) if command.returns else 'bool '
    args = f'const {command.args.name} *args, ' if command.args else ''
    return f'{result}{command.c}({args}GError **errp)'


def invoke_body(command):
    call_args = 'parsed, errp' if command.args else 'errp'
    call = f'{command.c}({call_args})'
    lines = []
    if command.args:
        name = command.args.name
        lines += [f'g_autoptr({name}) parsed = {name}_parse(args, NULL, errp);', '',
                  'if (!parsed) {', '    return NULL;', '}']
    else:
        lines += ['if (!schema_refuse_arguments(args, errp)) {', '    return NULL;', '}']
    if command.raw_return:
        return lines + [f'return {call};']
    if not command.returns:
        return lines + [f'return {call} ? json_object() : NULL;']
    result = declared(command.returns)
    return lines + [f'{result}result = {call};', 'if (!result) {', '    return NULL;', '}',
                    f'json_t *reply = {built(command.returns, "result")};',
                    free_statement(command.returns, 'result'), 'return reply;']


def generate(schema, folder):
    head = Output('qmp-commands.h', 'The handlers of QMP commands, to be written in monitor/.', guard=True)
    head.add('#include "qmp-schema/qmp-types.h"', '')
    head.add('/*', ' * A handler runs in a coroutine on loop 0 and may yield. It borrows @args for the call,',
             ' * and its result becomes the caller\'s. It fails by setting @errp.', ' */')
    head.add(*[prototype(c) + ';' for c in schema.commands], '')
    head.write(folder)

    out = Output('qmp-dispatch.c', 'The table of QMP commands.')
    out.add('#include "qmp-schema/dispatch.h"', '#include "qmp-schema/qmp-commands.h"',
            '#include "qmp-schema/schema-build.h"', '#include "qmp-schema/schema-read.h"', '')
    returned = {c.returns.element.name for c in schema.commands
                if isinstance(c.returns, model.List) and not c.raw_return}
    for name in sorted(returned):
        out.block(f'static json_t *build_{name}(const void *value)', [f'return {name}_to_json(value);'])
    for command in schema.commands:
        out.block(f'static json_t *invoke_{c_name(command.name)}(const json_t *args, GError **errp)',
                  invoke_body(command))
    out.add('const QmpCommand qmp_commands[] = {')
    for command in schema.commands:
        flags = 'QMP_COMMAND_BEFORE_NEGOTIATION' if command.before_negotiation else '0'
        out.add(f'    {{"{command.name}", invoke_{c_name(command.name)}, {flags}}},')
    out.add('    {NULL, NULL, 0},', '};')
    out.write(folder)
