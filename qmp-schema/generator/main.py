# SPDX-License-Identifier: LGPL-2.1-or-later
"""Generates C and documentation from the QMP schema: main.py SCHEMA OUTPUT-FOLDER [DEPFILE]."""


import os
import sys

import gen_build
import gen_dispatch
import gen_events
import gen_lifetime
import gen_parse
import gen_types
import introspect
import reference
from model import Schema
from parser import SchemaError, parse_schema

GENERATORS = (gen_types, gen_lifetime, gen_parse, gen_build, gen_dispatch, gen_events, introspect, reference)


def main(path, folder, depfile=None):
    definitions, files = parse_schema(path)
    schema = Schema(definitions)
    for generator in GENERATORS:
        generator.generate(schema, folder)
    if depfile:
        with open(depfile, 'w', encoding='utf-8') as f:
            f.write(os.path.join(folder, 'qmp-types.h') + ': ' + ' '.join(files) + '\n')


if __name__ == '__main__':
    try:
        main(*sys.argv[1:])
    except SchemaError as error:
        sys.exit(f'error: {error}')
