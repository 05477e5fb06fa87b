# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pull: how fast nbdcopy reads the frozen view of a disk that nobody writes to."""
import time

from lib import run

from daemons import Measured
from fio import on_disk, timed
from row import Figure, Row, megabytes


def _measure(bench, binary):
    """copy-before-write with a raw scratch, snapshot-access on it, and nbdcopy with its
    defaults."""
    with Measured(binary) as d:
        d.add_disk(bench.disks.source, 'source')
        d.add_disk(bench.disks.target, 'scratch')
        d.add('copy-before-write', 'cbw', file='source', target='scratch')
        d.add('snapshot-access', 'view', file='cbw')
        uri = d.export('view')
        before, start = d.cpu(), time.monotonic()
        run('nbdcopy', uri, 'null:')
        return {'speed': megabytes(bench.disks.size, time.monotonic() - start)}, d.cpu() - before


def _limit(bench):
    return {'speed': timed(on_disk(bench.disks.source), 'read', '256k', 64, bench.seconds)[1] / 1e6}


ROWS = [Row('pull', [Figure('speed', 'pull with nbdcopy', 'MB/s')], _measure, _limit)]
