# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options of scripts/bench."""
import argparse
import os
import shutil

from lib import MiB


def parse(about, rows):
    """about: what --help says. rows: all rows there are; o.rows are those asked for."""
    p = argparse.ArgumentParser(prog='scripts/bench', description=about,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add('--ours', default='build-bench/daemon/tidemarkd', metavar='PATH',
        help='the daemon that is measured')
    add('--theirs', default='qemu-storage-daemon', metavar='PATH', help='what it is compared with')
    add('--size', type=size, default='2G', help='of each of the two disks (default: %(default)s)')
    add('--runs', type=int, default=3, metavar='N',
        help='of each row and daemon (default: %(default)s)')
    add('--seconds', type=float, default=5, metavar='S',
        help='that rates are measured (default: %(default)s)')
    add('--rows', metavar='NAME,...', help='only these of ' + ', '.join(row.name for row in rows))
    add('--quick', action='store_true', help='one short run on small disks: does it work at all?')
    add('--plain', action='store_true', help='plain files, even as root')
    add('--folder', default='/dev/shm', help='where plain files are put (default: %(default)s)')
    add('--json', metavar='FILE', help='writes all figures to this file')
    add('--check', action='store_true', help='exit status 1 when a goal is missed')
    o = p.parse_args()
    try:
        o.rows = chosen(o.rows, rows)
        o.ours, o.theirs = program(o.ours), program(o.theirs)
    except ValueError as e:
        p.error(str(e))
    if o.runs < 1 or o.seconds <= 0:
        p.error('--runs and --seconds must be greater than 0')
    if o.quick:
        o.size, o.runs, o.seconds = 256 * MiB, 1, 1
    o.json = o.json and os.path.abspath(o.json)
    return o


def size(text):
    """A size with a suffix M or G, in whole MiB."""
    factor = {'M': MiB, 'G': 1024 * MiB}.get(text[-1:].upper())
    if not factor or not text[:-1].isdigit() or not int(text[:-1]):
        raise argparse.ArgumentTypeError(f'{text} is not a size like 512M or 4G')
    return int(text[:-1]) * factor


def chosen(names, rows):
    """The rows of these names, in the order of the table."""
    if names is None:
        return rows
    known = {row.name for row in rows}
    for name in names.split(','):
        if name not in known:
            raise ValueError(f'no row is called {name}')
    return [row for row in rows if row.name in names.split(',')]


def program(name):
    """The absolute path of a program, for the work is done in another folder."""
    path = shutil.which(name)
    if not path:
        raise ValueError(f'{name} is not there')
    return os.path.abspath(path)
