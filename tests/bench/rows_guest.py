# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest that writes while its disk is pushed: what it gets before the push and during it, and how
long that takes.

The disks are limited to what an SSD does, for a copy between two disks in memory never keeps a disk
busy, and a guest would wait for the CPU alone."""
from daemons import Measured
from fio import Guest, copy, on_disk, on_nbd
from row import Figure, Row

_WARM_UP = 1                            # seconds after fio's start that count for nothing


def _figures(guest, idle, loaded):
    """idle, loaded: spans of time."""
    idle_iops, idle_p99 = guest.window(*idle)
    loaded_iops, loaded_p99 = guest.window(*loaded)
    return {'idle-iops': idle_iops, 'idle-p99': idle_p99,
            'loaded-iops': loaded_iops, 'loaded-p99': loaded_p99, 'duration': loaded[1] - loaded[0]}


def _measure(bench, binary):
    with Measured(binary, limit=bench.limit) as d:
        d.add_disk(bench.disks.source, 'source')
        d.add_disk(bench.disks.target, 'target')
        with Guest(on_nbd(d.export('source', writable=True))) as guest:
            guest.span(_WARM_UP)
            idle = guest.span(bench.seconds)
            before = d.cpu()
            loaded = d.timed_backup(sync='full')
            cpu = d.cpu() - before
    return _figures(guest, idle, loaded), cpu


def _limit(bench):
    """The guest on the disk itself, and fio in the place of the push, in the same cgroup."""
    with Guest(on_disk(bench.disks.source), limit=bench.limit) as guest:
        guest.span(_WARM_UP)
        idle = guest.span(bench.seconds)
        start, _ = guest.span(0)
        took = copy(bench.disks.source, bench.disks.target, limit=bench.limit)
    return _figures(guest, idle, (start, start + took))


ROWS = [Row('guest', [
    Figure('idle-iops', 'guest 4 KiB random write, no push', 'IOPS'),
    Figure('idle-p99', '  its p99', 'ms'),
    Figure('loaded-iops', 'guest 4 KiB random write, during a push', 'IOPS'),
    Figure('loaded-p99', '  its p99', 'ms'),
    Figure('duration', 'full push beside that guest', 's'),
], _measure, _limit)]
