# SPDX-License-Identifier: LGPL-2.1-or-later
"""NBD: what one client on one connection gets from an exported disk."""
from functools import partial

from daemons import Measured
from fio import on_disk, on_nbd, timed
from row import Figure, Row

_ALL = [
    # name, title, rw, bs, depth, goal
    ('read-1', 'NBD 4 KiB random read, depth 1', 'randread', '4k', 1, 1.0),
    ('read-16', 'NBD 4 KiB random read, depth 16', 'randread', '4k', 16, 1.0),
    ('write-1', 'NBD 4 KiB random write, depth 1', 'randwrite', '4k', 1, 1.0),
    ('write-16', 'NBD 4 KiB random write, depth 16', 'randwrite', '4k', 16, 1.0),
    ('sequential', 'NBD 1 MiB sequential read, depth 8', 'read', '1M', 8, None),
]


def _figure(rw, figures):
    iops, bandwidth = figures
    return {'rate': iops if rw.startswith('rand') else bandwidth / 1e6}


def _measure(rw, bs, depth, bench, binary):
    with Measured(binary) as d:
        d.add_disk(bench.disks.source, 'source')
        uri = d.export('source', writable=True)
        before = d.cpu()
        return _figure(rw, timed(on_nbd(uri), rw, bs, depth, bench.seconds)), d.cpu() - before


def _limit(rw, bs, depth, bench):
    return _figure(rw, timed(on_disk(bench.disks.source), rw, bs, depth, bench.seconds))


ROWS = [Row(name, [Figure('rate', title, 'IOPS' if rw.startswith('rand') else 'MB/s', goal)],
            partial(_measure, rw, bs, depth), partial(_limit, rw, bs, depth))
        for name, title, rw, bs, depth, goal in _ALL]
