# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a value of a schema type is declared, freed, copied, read and built in C."""

import model
from names import upper_snake


def is_scalar(of):
    return not of.pointer


def declared(of):
    """The C type of a member, with the space or star before the member's name."""
    if isinstance(of, model.Builtin):
        return of.c_type if of.pointer else of.c_type + ' '
    if isinstance(of, model.Enum):
        return of.name + ' '
    if isinstance(of, model.List):
        return 'GArray *' if is_scalar(of.element) else 'GPtrArray *'
    return of.name + ' *'


def free_function(of):
    """The function that frees a pointer of this type, as a GDestroyNotify would."""
    if of.name == 'str':
        return 'g_free'
    return f'{of.name}_free'


def free_statement(of, place):
    """Frees what @place holds (NULL is fine); None for scalars."""
    if is_scalar(of) or of.name == 'null':
        return None
    if of.name == 'any':
        return f'json_decref({place});'
    if isinstance(of, model.List):
        kind = 'g_array_unref' if is_scalar(of.element) else 'g_ptr_array_unref'
        return f'g_clear_pointer(&{place}, {kind});'
    return f'{free_function(of)}({place});'


def copy_statement(of, to, place):
    """Replaces the pointer in @to, so far shared with @place, by a copy; None for scalars."""
    if is_scalar(of) or of.name == 'null':
        return None
    if of.name == 'any':
        return f'{to} = json_deep_copy({place});'
    if of.name == 'str':
        return f'{to} = g_strdup({place});'
    if isinstance(of, model.List):
        if is_scalar(of.element):
            return f'{to} = {place} ? g_array_copy({place}) : NULL;'
        copy = 'copy_string' if of.element.name == 'str' else f'copy_{of.element.name}'
        return f'{to} = copy_list({place}, {copy}, {list_free(of)});'
    return f'{to} = {of.name}_copy({place});'


def list_free(of):
    """The free function of the list's elements as an argument."""
    if of.element.name == 'str':
        return 'g_free'
    return f'(GDestroyNotify){free_function(of.element)}'


def read_condition(of, frame, name, place):
    """A C condition that reads the value `v` into @place and is false when that failed."""
    at = f'{frame}, {name}, v'
    if of.name == 'str':
        return f'({place} = schema_read_string({at}, errp))'
    if of.name == 'any':
        return f'({place} = json_incref((json_t *)v))'
    if isinstance(of, model.Builtin):
        return f'schema_read_{of.name}({at}, &{place}, errp)'
    if isinstance(of, model.Enum):
        return f'read_{of.name}({at}, &{place}, errp)'
    if isinstance(of, model.List):
        if isinstance(of.element, model.Enum):
            return f'({place} = schema_read_enum_list({at}, &{of.element.name}_lookup, errp))'
        read = 'schema_read_string' if of.element.name == 'str' else f'read_{of.element.name}'
        return f'({place} = schema_read_list({at}, {read}, {list_free(of)}, errp))'
    return f'({place} = read_{of.name}({at}, errp))'


def built(of, place):
    """A C expression: the JSON value of @place."""
    if of.name == 'str':
        return f'schema_json_string({place})'
    if of.name == 'any':
        return f'json_incref({place})'
    if of.name == 'bool':
        return f'json_boolean({place})'
    if of.name == 'number':
        return f'json_real({place})'
    if isinstance(of, model.Builtin):
        return f'json_integer({place})'
    if isinstance(of, model.Enum):
        return f'json_string({of.name}_name({place}))'
    if isinstance(of, model.List):
        if isinstance(of.element, model.Enum):
            return f'schema_json_enum_list({place}, &{of.element.name}_lookup)'
        build = 'build_string' if of.element.name == 'str' else f'build_{of.element.name}'
        return f'schema_json_list({place}, {build})'
    return f'{of.name}_to_json({place})'


def kind_prefix(alternate):
    return upper_snake(alternate.name) + '_KIND_'
