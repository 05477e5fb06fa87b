# SPDX-License-Identifier: LGPL-2.1-or-later
"""qmp-events.h and qmp-events.c: one function for each event."""

from writer import Output


def prototype(event):
    return f'void {event.c}({f"const {event.data.name} *data" if event.data else "void"})'


def generate(schema, folder):
    head = Output('qmp-events.h', 'Emits QMP events; each function may be called on any thread.', guard=True)
    head.add('#include "qmp-schema/qmp-types.h"', '')
    head.add(*[prototype(event) + ';' for event in schema.events], '')
    head.write(folder)

    out = Output('qmp-events.c', 'Builds the data of each event and hands it to the sink.')
    out.add('#include "qmp-schema/event-sink.h"', '#include "qmp-schema/qmp-events.h"', '')
    for event in schema.events:
        data = f'{event.data.name}_to_json(data)' if event.data else 'NULL'
        out.block(prototype(event), [f'qmp_event_send("{event.name}", {data});'])
    out.write(folder)
