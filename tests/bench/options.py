# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options of scripts/bench."""
import argparse
import os
import shutil

from lib import MiB


def parse(about, sections):
    """about: what --help says. sections: all there are; o.sections are pairs of a section and those
    of its rows that are asked for, where there are such."""
    p = argparse.ArgumentParser(prog='scripts/bench', description=about,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add('--ours', default='build-bench/daemon/tidemarkd', metavar='PATH',
        help='the daemon that is measured')
    add('--theirs', default='qemu-storage-daemon', metavar='PATH', help='what it is compared with')
    add('--size', type=size, default='2G', help='of each of the two disks (default: %(default)s)')
    add('--backup-size', type=size, default='3200M', metavar='SIZE',
        help='of each disk of section guest-backup: 50 times the staging (default: %(default)s)')
    add('--runs', type=int, default=3, metavar='N',
        help='of each row and daemon (default: %(default)s)')
    add('--seconds', type=float, default=5, metavar='S',
        help='that rates are measured (default: %(default)s)')
    add('--rows', metavar='NAME,...', help='only these rows, or all of a section: ' + '; '.join(
        f'{s.name} ({", ".join(row.name for row in s.rows)})' for s in sections))
    add('--quick', action='store_true', help='one short run on small disks: does it work at all?')
    add('--plain', action='store_true', help='plain files, even as root')
    add('--folder', default='/dev/shm', help='where plain files are put (default: %(default)s)')
    add('--real', metavar='DIR', help='a folder on a real disk, for row backup-real')
    add('--plots', metavar='DIR', help='draws the guest of each row of guest-backup over time')
    add('--json', metavar='FILE', help='writes all figures to this file')
    add('--check', action='store_true', help='exit status 1 when a goal is missed')
    o = p.parse_args()
    try:
        o.sections = chosen(o, sections)
        o.ours, o.theirs = program(o.ours), program(o.theirs)
    except ValueError as e:
        p.error(str(e))
    if o.runs < 1 or o.seconds <= 0:
        p.error('--runs and --seconds must be greater than 0')
    if o.quick:
        o.size, o.backup_size, o.runs, o.seconds = 256 * MiB, 256 * MiB, 1, 1
    for name in 'json', 'real', 'plots':
        setattr(o, name, getattr(o, name) and os.path.abspath(getattr(o, name)))
    if o.plots:
        os.makedirs(o.plots, exist_ok=True)
    return o


def size(text):
    """A size with a suffix M or G, in whole MiB."""
    factor = {'M': MiB, 'G': 1024 * MiB}.get(text[-1:].upper())
    if not factor or not text[:-1].isdigit() or not int(text[:-1]):
        raise argparse.ArgumentTypeError(f'{text} is not a size like 512M or 4G')
    return int(text[:-1]) * factor


def chosen(o, sections):
    """Pairs of a section and its rows that are named, by themselves or with their section, in the
    order of the table."""
    known = {row.name: row for section in sections for row in section.rows}
    names = None if o.rows is None else set(o.rows.split(','))
    for name in names or ():
        if name not in known and name not in (section.name for section in sections):
            raise ValueError(f'no row or section is called {name}')
        if name in known and known[name].needs_real and not o.real:
            raise ValueError(f'row {name} needs --real')
    pairs = ((section, [row for row in section.rows
                        if (names is None or {row.name, section.name} & names)
                        and (o.real or not row.needs_real)]) for section in sections)
    return [(section, rows) for section, rows in pairs if rows]


def program(name):
    """The absolute path of a program, for the work is done in another folder."""
    path = shutil.which(name)
    if not path:
        raise ValueError(f'{name} is not there')
    return os.path.abspath(path)
