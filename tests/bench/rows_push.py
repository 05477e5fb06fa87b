# SPDX-License-Identifier: LGPL-2.1-or-later
"""Push: how fast blockdev-backup copies a disk that nobody writes to, whole, and a tenth of it by
bitmap."""
import random

from lib import KiB

from daemons import Measured, scatter
from fio import copy
from row import Figure, Row, megabytes

_CLUSTER = 64 * KiB


def _push(bench, d, amount, **arguments):
    before = d.cpu()
    start, end = d.timed_backup(**arguments)
    return {'speed': megabytes(amount, end - start)}, d.cpu() - before


def _disks(bench, d):
    """Adds both disks. If the copy is to be looked at, the target must not hold it from another
    time."""
    if bench.verify:
        bench.disks.target.fill(seed=3)
    d.add_disk(bench.disks.source, 'source')
    d.add_disk(bench.disks.target, 'target')


def _full(bench, binary):
    with Measured(binary) as d:
        _disks(bench, d)
        result = _push(bench, d, bench.disks.size, sync='full')
    if bench.verify:
        assert bench.disks.target.same_as(bench.disks.source), f'{binary}: the copy differs'
    return result


def _dirty_clusters(bench):
    """A tenth of all clusters, at random, the same for each run."""
    count = bench.disks.size // _CLUSTER
    return sorted(random.Random(10).sample(range(count), count // 10))


def _incremental(bench, binary):
    clusters = _dirty_clusters(bench)
    with Measured(binary) as d:
        _disks(bench, d)
        d.cmd('block-dirty-bitmap-add', node='source', name='b', granularity=_CLUSTER)
        scatter(d.export('source', writable=True), [n * _CLUSTER for n in clusters])
        d.unexport('source')
        count = d.bitmap('source', 'b')['count']
        assert count == len(clusters) * _CLUSTER, f'{count} bytes are dirty'
        result = _push(bench, d, count, sync='incremental', bitmap='b')
    if bench.verify:
        _compare_clusters(bench, clusters)
    return result


def _compare_clusters(bench, clusters):
    with open(bench.disks.source.file, 'rb') as a, open(bench.disks.target.file, 'rb') as b:
        for n in clusters:
            a.seek(n * _CLUSTER)
            b.seek(n * _CLUSTER)
            assert a.read(_CLUSTER) == b.read(_CLUSTER), f'cluster {n} has not been copied'


def _full_limit(bench):
    return {'speed': megabytes(bench.disks.size, copy(bench.disks.source, bench.disks.target))}


def _incremental_limit(bench):
    amount = len(_dirty_clusters(bench)) * _CLUSTER
    took = copy(bench.disks.source, bench.disks.target, bs='64k', rw='rand', amount=amount)
    return {'speed': megabytes(amount, took)}


ROWS = [
    Row('full', [Figure('speed', 'full push', 'MB/s', goal=1.0)], _full, _full_limit),
    Row('incremental', [Figure('speed', 'incremental push, 10 % dirty', 'MB/s')],
        _incremental, _incremental_limit),
]
