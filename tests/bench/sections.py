# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sections of the table: their rows, and the disks and limits that these share. A section's
disks are gone before the next one's are made, for all of them are memory."""
from dataclasses import dataclass
from typing import Callable

from lib import MiB

import rows_backup
import rows_backup_copy
import rows_backup_pull
import rows_guest
import rows_map
import rows_merge
import rows_nbd
import rows_nbd_peers
import rows_pull
import rows_push
import rows_qcow2
from disks import Disks
from images import Images
from limits import Limit
from real import RealDisks
from row import Bench
from scratch import Scratch
from volume import Volume


@dataclass
class Section:
    """prepare(stack, work, o, rows) returns the Bench for these rows, and what is to be told about
    it as {name: text}; what it makes is gone when the stack is closed."""
    name: str
    title: str
    rows: list
    prepare: Callable
    limit: str = 'fio limit'            # the column of what row.limit() measures


def _disks(stack, work, o, size, note):
    """The two disks and their limit; note: which rows keep to it."""
    disks = stack.enter_context(Disks(work, size, o.plain, o.folder))
    limit = stack.enter_context(Limit(disks))
    return disks, limit, {'disks': f'{size // MiB} MiB each, {disks.note}',
                          'limit': f'{limit.note} ({note})'}


def _prepare_plain(stack, work, o, rows):
    disks = limit = images = None
    about = {}
    if any(row.needs_disks for row in rows):
        disks, limit, about = _disks(stack, work, o, o.size, 'only the guest rows')
        images = stack.enter_context(Images(disks))
    bits = 2_500 if o.quick else 25_000
    return Bench(disks, limit, images, o.seconds, merges=5, bits=bits), about


def _prepare_backup(stack, work, o, rows):
    disks, limit, about = _disks(stack, work, o, o.backup_size, 'all rows with a guest')
    scratch = stack.enter_context(Scratch(disks, limit))
    more = real = shared = None
    if any(row.needs_more for row in rows):
        more = stack.enter_context(
            Disks(work, o.backup_size, o.plain, o.folder, names=('third', 'fourth')))
        for disk in more.all:
            limit.add(disk.path)
    if any(row.needs_real for row in rows):
        real = stack.enter_context(RealDisks(o.real, o.backup_size))
        about['real disk'] = real.note
    if any(row.needs_shared for row in rows):
        shared = stack.enter_context(_shared(stack, work, o.backup_size // 2))
    return Bench(disks, limit, None, o.seconds, scratch=scratch, more=more, real=real,
                 shared=shared), about


def _shared(stack, work, size):
    """Two files of an XFS: room for both, though they may have the same blocks."""
    return RealDisks(stack.enter_context(Volume(work, 'xfs', 2 * size + 512 * MiB, 'xfs')).place,
                     size)


SECTIONS = [
    Section('daemon', 'the daemon',
            [*rows_push.ROWS, *rows_nbd.ROWS, *rows_guest.ROWS, *rows_pull.ROWS, *rows_map.ROWS,
             *rows_merge.ROWS, *rows_qcow2.ROWS], _prepare_plain),
    Section('nbd', 'NBD servers', rows_nbd_peers.ROWS, _prepare_plain, limit='nbdkit'),
    Section('guest-backup', 'guest under backup',
            [*rows_backup.ROWS, *rows_backup_pull.ROWS, *rows_backup_copy.ROWS], _prepare_backup),
]
