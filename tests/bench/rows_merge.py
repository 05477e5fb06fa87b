# SPDX-License-Identifier: LGPL-2.1-or-later
"""Merge: four sparse bitmaps of a 16 TiB disk into a new one, in one command."""
import random
import statistics
import time

from lib import KiB

from daemons import Measured, scatter
from row import Figure, Row

_SIZE = 16 << 40
_GRANULARITY = 64 * KiB
_SOURCES = ['b0', 'b1', 'b2', 'b3']


def _make_sources(d, uri, bits):
    """Bitmaps with that many bits each: an enabled bitmap sees the writes that come before the next
    one's."""
    for number, name in enumerate(_SOURCES):
        d.cmd('block-dirty-bitmap-add', node='huge', name=name, granularity=_GRANULARITY)
        granules = random.Random(number).sample(range(_SIZE // _GRANULARITY), bits)
        scatter(uri, [n * _GRANULARITY for n in granules])
        d.cmd('block-dirty-bitmap-disable', node='huge', name=name)
        count = d.bitmap('huge', name)['count'] // _GRANULARITY
        assert count == bits, f'{name} has {count} bits, not {bits}'


def _merge(d):
    d.cmd('block-dirty-bitmap-add', node='huge', name='all', granularity=_GRANULARITY,
          disabled=True)
    start = time.monotonic()
    d.cmd('block-dirty-bitmap-merge', node='huge', target='all', bitmaps=_SOURCES)
    took = time.monotonic() - start
    count = d.bitmap('huge', 'all')['count']
    d.cmd('block-dirty-bitmap-remove', node='huge', name='all')
    return took, count // _GRANULARITY


def _measure(bench, binary):
    with Measured(binary) as d:
        d.add('null-co', 'huge', size=_SIZE, read_zeroes=True)
        _make_sources(d, d.export('huge', writable=True), bench.bits)
        before = d.cpu()
        merges = [_merge(d) for _ in range(bench.merges)]
        cpu = (d.cpu() - before) / bench.merges
    # Some few granules are in two of the sources.
    assert all(3.9 * bench.bits < count <= 4 * bench.bits for _, count in merges), merges
    return {'time': 1000 * statistics.median(took for took, _ in merges)}, cpu


ROWS = [Row('merge', [Figure('time', 'four bitmaps merged, 16 TiB disk', 'ms', goal=2.0)], _measure,
            needs_disks=False)]
