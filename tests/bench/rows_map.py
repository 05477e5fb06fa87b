# SPDX-License-Identifier: LGPL-2.1-or-later
"""The map of what is dirty on a large disk, as a backup client asks for it: the server's time for
all of it."""
import random
import struct
from functools import partial

from lib import (CMD_BLOCK_STATUS, GiB, KiB, RawNbd)

from daemons import Measured, scatter
from row import Figure, Row

_SIZE = 16 << 40
_GRANULARITY = 64 * KiB
_CONTEXT = 'qemu:dirty-bitmap:b'
_WINDOW = 4 * GiB - _GRANULARITY        # what can be asked for at once without extended headers


def _map(r):
    """Asks for all of it in as few requests as there may be; returns the number of dirty extents,
    and of requests."""
    offset = dirty = requests = 0
    while offset < _SIZE:
        length = _SIZE - offset if r.extended else min(_WINDOW, _SIZE - offset)
        r.request(CMD_BLOCK_STATUS, offset, length)
        (_, data), = r.chunks()
        _, found = r.status(data, r.extended)
        dirty += sum(1 for _, flags in found if flags)
        offset += sum(length for length, _ in found)
        requests += 1
    return dirty, requests


def _measure(extended, bench, binary):
    with Measured(binary) as d:
        d.add('null-co', 'huge', size=_SIZE, read_zeroes=True)
        d.cmd('block-dirty-bitmap-add', node='huge', name='b', granularity=_GRANULARITY)
        # Every second granule at most, so that no two of them make one extent.
        granules = random.Random(1).sample(range(0, _SIZE // _GRANULARITY, 2), bench.extents)
        uri = d.export('huge', writable=True, bitmaps=['b'])
        scatter(uri, [n * _GRANULARITY for n in granules])
        with RawNbd(d.nbd) as r:
            r.go('huge', structured=True, extended=extended, contexts=[_CONTEXT])
            before = d.cpu()
            for _ in range(bench.merges):
                dirty, requests = _map(r)
                assert dirty == bench.extents, (dirty, bench.extents)
            cpu = (d.cpu() - before) / bench.merges
    print(binary, extended, cpu, requests)
    return {'time': 1000 * cpu}, cpu


ROWS = [Row(f'nbd-dirty-map{name}', [Figure('time', f'map of a 16 TiB disk, 300,000 extents, {title}', 'ms', goal=2.0)],
            partial(_measure, extended), needs_disks=False)
        for name, title, extended in (('', 'server time', False), ('-extended', '  the same, extended headers', True))]
