# SPDX-License-Identifier: LGPL-2.1-or-later
"""The map of what is dirty on a large disk, as a backup client asks for it: the server's time for
all of it."""
import random

from lib import CMD_BLOCK_STATUS, GiB, KiB, RawNbd

from daemons import Measured, scatter
from row import Figure, Row

_SIZE = 16 << 40
_GRANULARITY = 64 * KiB
_CONTEXT = 'qemu:dirty-bitmap:b'
_WINDOW = 4 * GiB - _GRANULARITY        # what can be asked for at once without extended headers
_ROUNDS = 10


def _map(r):
    """Asks for all of it in as few requests as there may be; returns the number of dirty
    extents."""
    offset = dirty = 0
    while offset < _SIZE:
        length = _SIZE - offset if r.extended else min(_WINDOW, _SIZE - offset)
        r.request(CMD_BLOCK_STATUS, offset, length)
        (_, data), = r.chunks()
        _, found = r.status(data, r.extended)
        dirty += sum(1 for _, flags in found if flags)
        offset += sum(length for length, _ in found)
    return dirty


def _time(d, extended, extents):
    """CPU seconds of the daemon for one map."""
    with RawNbd(d.nbd) as r:
        r.go('huge', structured=True, extended=extended, contexts=[_CONTEXT])
        before = d.cpu()
        for _ in range(_ROUNDS):
            dirty = _map(r)
            assert dirty == extents, f'{dirty} dirty extents, not {extents}'
        return (d.cpu() - before) / _ROUNDS


def _measure(bench, binary):
    extents = 12 * bench.bits
    with Measured(binary) as d:
        d.add('null-co', 'huge', size=_SIZE, read_zeroes=True)
        d.cmd('block-dirty-bitmap-add', node='huge', name='b', granularity=_GRANULARITY)
        # Every second granule at most, so that no two of them make one extent.
        granules = random.Random(1).sample(range(0, _SIZE // _GRANULARITY, 2), extents)
        scatter(d.export('huge', writable=True, bitmaps=['b']), [n * _GRANULARITY for n in granules])
        times = {extended: _time(d, extended, extents) for extended in (False, True)}
    return {'time': 1000 * times[False], 'extended': 1000 * times[True]}, sum(times.values())


ROWS = [Row('nbd-dirty-map',
            [Figure('extended', 'dirty map, 16 TiB, 300,000 extents', 'ms', goal=2.0),
             Figure('time', '  the same without extended headers', 'ms')],
            _measure, needs_disks=False)]
