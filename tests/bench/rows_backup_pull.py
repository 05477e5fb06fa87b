# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest under a pull: while the client does nothing, on blocks that are still to be saved and on
saved ones, and while nbdcopy reads as fast as it can.

The guest's export stays where it is: it is on a raw node above the disk, which a filter can come
under. All on limited disks."""
import subprocess
import time
from dataclasses import dataclass
from functools import partial

from lib import MiB

from daemons import JOB_DEADLINE, Measured
from fio import Guest, fio, on_nbd
from guests import WARM_UP, fared, idle_lines, loaded_lines, watched
from row import Figure, Row, megabytes

_SAVED_RANGE = 64 * MiB


@dataclass
class _Span:
    begin: float
    end: float
    how: str = 'ends'


def _filter(bench, d):
    """copy-before-write, with the other disk as raw scratch."""
    d.add_disk(bench.disks.target, 'scratch')
    d.add('copy-before-write', 'cbw', file='source', target='scratch')
    d.cmd('blockdev-reopen', options=[{'driver': 'raw', 'node-name': 'guest', 'file': 'cbw'}])
    d.add('snapshot-access', 'view', file='cbw')


def _classic(bench, d):
    """A job that saves to a qcow2 image whose backing file is the disk itself."""
    d.cmd('blockdev-add', {**bench.scratch.qcow2().options('view'), 'backing': 'source'})
    d.cmd('blockdev-backup', job_id='pull', device='source', target='view', sync='none')


def _open(bench, d):
    """Adds the disk and the node above it; returns the guest's URI."""
    bench.scratch.forget()
    d.add_disk(bench.disks.source, 'source')
    d.add('raw', 'guest', file='source')
    return d.export('guest', writable=True)


def _idle_client(insert, bench, d):
    """Figures of the guest on blocks that are still to be saved, and on saved ones."""
    uri = _open(bench, d)
    with Guest(on_nbd(uri)) as guest:
        guest.span(WARM_UP)
        quiet = guest.span(bench.seconds)
        insert(bench, d)
        d.export('view')
        untouched = guest.span(bench.seconds)
    fio({**on_nbd(uri), 'rw': 'write', 'bs': '64k', 'iodepth': 4, 'size': _SAVED_RANGE},
        timeout=JOB_DEADLINE)
    with Guest(on_nbd(uri), size=_SAVED_RANGE) as again:
        again.span(WARM_UP)
        saved = again.span(bench.seconds)
    return {**fared('idle', *guest.window(*quiet)),
            **fared('untouched', *guest.window(*untouched)),
            **fared('saved', *again.window(*saved))}


def _copied(insert, bench, d):
    """nbdcopy from the first moment of the view to its end."""
    begin = time.time()
    insert(bench, d)
    uri = d.export('view')
    start = time.time()
    subprocess.run(['nbdcopy', uri, 'null:'], check=True, timeout=JOB_DEADLINE)
    end = time.time()
    return _Span(begin, end), megabytes(bench.disks.size, end - start)


def _measure(insert, bench, binary):
    with Measured(binary, limit=bench.limit, scratch=bench.scratch) as d:
        figures = _idle_client(insert, bench, d)
    with Measured(binary, limit=bench.limit, scratch=bench.scratch) as d:
        uri, speed = _open(bench, d), []

        def backup():
            span, rate = _copied(insert, bench, d)
            speed.append(rate)
            return span
        read, cpu, _ = watched(bench, d, [uri], backup)
        bench.notes.detail(memory_mib=d.memory())
    bench.scratch.forget()
    return {**read, **figures, 'speed': speed[0]}, cpu


def _lines(title):
    return [
        *idle_lines(title),
        *loaded_lines('idle client, untouched blocks', 50, key='untouched'),
        *loaded_lines('idle client, saved blocks', 90, key='saved'),
        *loaded_lines('while nbdcopy reads', 35),
        Figure('speed', '  nbdcopy beside the guest', 'MB/s', goal=1.2),
    ]


def _title(how):
    return f'Guest (4 KiB random write, depth 16) under a pull by nbdcopy ({how})'


ROWS = [
    Row('backup-pull', _lines('guest under a pull, raw scratch'), partial(_measure, _filter),
        title=_title('copy-before-write')),
    Row('backup-classic', _lines('guest under a classic pull'), partial(_measure, _classic),
        title=_title('sync=none into qcow2')),
]
